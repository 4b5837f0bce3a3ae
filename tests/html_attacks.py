"""Pieces of HTML that have got a script past some cleaner of HTML: each sets `window.ran`, or connects.

Most are from the issues and advisories of DOMPurify, Ammonia, bleach and mXSS research: what a cleaner
reads as text or as a harmless attribute becomes markup when a browser reads the cleaned page again.
"""

RUN = "window.ran=1"
IMAGE = f"<img src=x onerror={RUN}>"

ATTACKS = {
    "script": f"<script>{RUN}</script>",
    "handler": IMAGE,
    "slash": f"<img/src=x/onerror={RUN}>",
    "svg": f"<svg onload={RUN}></svg><svg><script>{RUN}</script></svg><svg/onload={RUN}>",
    "body": f"<body onload={RUN}>hi",
    "html": f"<html onmouseenter={RUN}><body background=x onpageshow={RUN}>hi",
    "body breaks out": f'<body title="></body>{IMAGE}">hi',
    "body unfinished": f"<body title='{IMAGE}",
    "details": f"<details open ontoggle={RUN}>x</details>",
    "autofocus": f"<input autofocus onfocus={RUN}><button autofocus onfocus={RUN}>",
    "animation": f"<style>@keyframes x{{}}</style><p style='animation-name:x' onanimationstart={RUN}>x",
    "frame": f"<iframe srcdoc='<script>parent.ran=1</script>'></iframe><iframe src='javascript:{RUN}'>",
    "object": f"<object data='javascript:{RUN}'></object><embed src='javascript:{RUN}'>",
    "refresh": f"<meta http-equiv=refresh content='0;url=javascript:{RUN}'>",
    "base": "<base href='//a.invalid/'><a href='x'>x</a>",
    "link": f"<a href='java\tscript:{RUN}' id=a>x</a><a href='&#1;javascript:{RUN}'>y</a>",
    "data link": f"<a href='data:text/html,<script>{RUN}</script>'>x</a>",
    "style ends in an attribute": f'<style></style><p title="</style>{IMAGE}">',
    "style in svg": f"<svg><style>&lt;/style&gt;{IMAGE.replace('<', '&lt;')}</style></svg>",
    "style in math": f"<math><style><!--</style><img title=\"--&gt;{IMAGE.replace('<', '&lt;')}\">",
    "style in a table in math": f"<math><mi><table><mi><style><!--</style>--><b title='--&gt;{IMAGE}'>",
    "form in math": f"<form><math><mtext></form><form><mglyph><style></math>{IMAGE}",
    "mglyph": f"<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;{IMAGE}\">",
    "foreign object": f"<svg></p><foreignObject><style><!--</style><p id='--><svg onload={RUN}>'>",
    "annotation": f"<math><annotation-xml encoding='text/html'><style><a title='</style>{IMAGE}'>",
    "svg title": f"<svg><title><style><p title='</style>{IMAGE}'></title></svg>",
    "desc": f"<svg><desc><noscript></desc></svg><p title='</noscript>{IMAGE}'>",
    "noscript": f"<noscript><p title='</noscript>{IMAGE}'></noscript>",
    "textarea": f"<textarea><p title='</textarea>{IMAGE}'></textarea>",
    "select": f"<select><style></select>{IMAGE}</style></select><select><math><style>{IMAGE}</style>",
    "option": f"<select><option><p title='</option></select>{IMAGE}'>",
    "title": f"<title><p title='</title>{IMAGE}'></title>",
    "xmp": f"<xmp><p title='</xmp>{IMAGE}'></xmp><noembed><p title='</noembed>{IMAGE}'></noembed>",
    "noframes": f"<noframes><p title='</noframes>{IMAGE}'></noframes>",
    "plaintext": f"<plaintext>{IMAGE}",
    "comment": f"<!--><img src=x onerror={RUN}>--><!-- --!>{IMAGE}--><!-->{IMAGE}-->",
    "bogus comment": f"<!x>{IMAGE}<?x>{IMAGE}</ x>{IMAGE}<![CDATA[>{IMAGE}]]>",
    "cdata in svg": f"<svg><![CDATA[><{IMAGE}]]></svg>",
    "template": f"<template>{IMAGE}</template><p is=x-y>",
    "entities": f"&lt;img src=x onerror={RUN}&gt;<p title='&quot;&gt;{IMAGE}'>",
    "backtick": f"<p title='``onmouseover={RUN}'><img alt='``onerror={RUN} src=x'>",
    "listing": f"<pre>\n\n<listing>\n&lt;img src=x onerror={RUN}&gt;</listing></pre>",
    "nested links": f"<a href=x><table><a href=y><style></table></a>{IMAGE}</style>",
    "clobber": "<img name=documentElement><form name=body></form><img id=a name=addEventListener>",
    "null": f"<scr\0ipt>{RUN}</scr\0ipt><img src=x on\0error={RUN}><\0script>{RUN}</script>",
    "half a pair": f"<p title='\ud800'>{IMAGE}",
    "style import": "<style>@import '//a.invalid/a.css';</style><link rel=preconnect href=//a.invalid>",
    "style unfinished": f"<style><!-- <p title='</style>{IMAGE}",
    "svg use": f"<svg><use href=\"data:image/svg+xml,<svg id='x' onload='{RUN}'/>#x\"></svg>",
    "set": f"<svg><a><set attributeName=href to=javascript:{RUN} /><text y=20>x</text></a></svg>",
    "math link": f"<math href='javascript:{RUN}'><mi xlink:href='javascript:{RUN}'>x</mi></math>",
    "isindex": f"<isindex action='javascript:{RUN}'><form action='javascript:{RUN}'><button>x</form>",
    "source": f"<picture><source srcset=x onerror={RUN}><img src=x onerror={RUN}></picture>",
    "video": f"<video><source onerror={RUN}></video><audio src onloadstart={RUN}>",
}  # fmt: skip
"""HTML by what it abuses."""

BOMBS = {
    "formatting": "".join(f"<p><font size={number}>" for number in range(20_000)),
    "deep": "<div>" * 100_000,
    "grows": "<table><b>" * 200_000,
}
"""HTML of which nh3 would make gigabytes, or work at for minutes."""
