"""File systems over HTTP: rclone and davfs2 on WebDAV, s3fs on an S3 server; two clients each."""

from __future__ import annotations

from pathlib import Path

from benchmarks.mounts.kind import Kind
from benchmarks.mounts.packages import environment
from benchmarks.mounts.stage import Stage

_MOTO = "moto[server]"
_NGINX = """\
load_module modules/ngx_http_dav_ext_module.so;
daemon off; user root; pid {base}/nginx.pid; error_log stderr;
events {{ }}
http {{
  access_log off; client_max_body_size 0;
  client_body_temp_path {base}/body; proxy_temp_path {base}/t1; fastcgi_temp_path {base}/t2;
  uwsgi_temp_path {base}/t3; scgi_temp_path {base}/t4;
  server {{
    listen 127.0.0.1:80; root {base}/export;
    location / {{
      dav_methods PUT DELETE MKCOL COPY MOVE; dav_ext_methods PROPFIND OPTIONS; create_full_put_path on;
    }}
  }}
}}
"""
# buf_size: with the default of 16 KiB every readdir is EINVAL on a kernel that asks for 32 KiB (6.18 does)
_DAVFS = """\
cache_dir {cache}
ask_auth 0
use_locks 0
dir_refresh 1
file_refresh 0
delay_upload 0
gui_optimize 0
buf_size 256
"""


def _rclone(stage: Stage) -> list[Path]:
    config = stage.write(
        "rclone.conf", "[remote]\ntype = webdav\nurl = http://127.0.0.1:80\nvendor = other\n"
    )
    stage.spawn("rclone", "serve", "webdav", stage.folder("export"), "--addr", "127.0.0.1:80",
                "--config", config, host="lan")  # fmt: skip
    stage.listening(80, "lan")
    points = [stage.folder("A"), stage.folder("B")]
    for point in points:
        stage.spawn("rclone", "mount", "remote:", point, "--config", config, "--vfs-cache-mode", "writes",
                    "--vfs-write-back", "1s", "--dir-cache-time", "5s",
                    "--cache-dir", stage.folder(f"cache-{point.name}"), host="lan")  # fmt: skip
    return [stage.mounted(point) for point in points]


def _davfs2(stage: Stage) -> list[Path]:
    stage.folder("export")
    config = stage.write("nginx.conf", _NGINX.format(base=stage.base))
    stage.spawn("nginx", "-e", "stderr", "-c", config, host="lan")
    stage.listening(80, "lan")
    return [_davfs2_client(stage, name) for name in ("A", "B")]


def _davfs2_client(stage: Stage, name: str) -> Path:
    point, cache = stage.folder(name), stage.folder(f"cache-{name}")
    cache.chmod(0o777)  # mount.davfs works in it as the user davfs2
    stage.base.chmod(0o755)
    config = stage.write(f"{name}.conf", _DAVFS.format(cache=cache))
    options = f"conf={config},uid=0,gid=0"
    stage.run("mount.davfs", "http://127.0.0.1/", point, "-o", options, host="lan")
    return stage.mounted(point)


def _s3fs(stage: Stage) -> list[Path]:
    account = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
    server = environment(_MOTO) / "bin" / "moto_server"
    stage.spawn(server, "-H", "127.0.0.1", "-p", "80", host="lan", env=account)
    stage.listening(80, "lan")
    stage.run("curl", "-sf", "-X", "PUT", "http://127.0.0.1/mail", host="lan")
    password = stage.write("password", "key:secret\n", 0o600)
    options = [f"passwd_file={password}", "url=http://127.0.0.1", "use_path_request_style",
               f"tmpdir={stage.folder('cache')}", "stat_cache_expire=5"]  # fmt: skip
    points = [stage.folder("A"), stage.folder("B")]
    for point in points:
        stage.run("s3fs", "mail", point, "-o", ",".join(options), host="lan")
    return [stage.mounted(point) for point in points]


KINDS = (
    Kind("rclone-webdav", "rclone on WebDAV: a private cache, fsync promises nothing",
         ("rclone", "fuse3"), _rclone),
    Kind("davfs2", "davfs2 on WebDAV", ("davfs2", "nginx-light", "libnginx-mod-http-dav-ext"), _davfs2),
    Kind("s3fs", "s3fs on an S3 server in memory: rename copies", ("s3fs", "curl", "python3-venv"), _s3fs,
         python=(_MOTO,)),
)  # fmt: skip
