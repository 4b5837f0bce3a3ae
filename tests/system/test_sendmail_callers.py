"""Programs of Debian that send mail through our `sendmail`, into a spool, to a Postfix that says 450 first.

`sendmail` is laid over /usr/sbin/sendmail in a mount namespace of its own, where no program notices.
"""

from __future__ import annotations

import email
import subprocess
import sys
from collections.abc import Iterator
from email.policy import default
from pathlib import Path

import pytest
from mta import command, delivered, need, scratch, wait_for, with_mailboxes

from maildir_safe import Queue

pytestmark = pytest.mark.mounts

TO = "ada@example.net"
ROOM = """
set -e
mount -t tmpfs none {base}/up
for part in etc var/cache var/spool/cron; do
  mkdir -p {base}/up/$part /$part {base}/up/work/$part
  dirs=lowerdir=/$part,upperdir={base}/up/$part,workdir={base}/up/work/$part
  mount -t overlay -o $dirs overlay /$part
done
mount -t tmpfs none /run
mount --bind {command} /usr/sbin/sendmail
mkdir -p /etc/maildir-safe
cp {base}/sendmail.toml /etc/maildir-safe/sendmail.toml
exec "$@"
"""
PROGRAMS = {
    "cron": """
mkdir -p /var/spool/cron/crontabs
printf 'MAILTO={to}\\n* * * * * echo by cron\\n' > /var/spool/cron/crontabs/root
chmod 600 /var/spool/cron/crontabs/root
cron -f &
until /usr/sbin/sendmail -bp | grep -q {to}; do sleep 0.2; done
kill $!
""",
    "php": """
php -d sendmail_path='/usr/sbin/sendmail -t -i' -r '
mail("{to}", "by PHP", "a line\\n.\\nanother", "From: shop@example.org\\r\\nBcc: bob@example.net")
or exit(9);'
""",
    "git send-email": """
export HOME={base}
git init -q {base}/repo && cd {base}/repo
git config user.name Ann && git config user.email ann@example.org
echo x > file && git add file && git commit -q -m 'by git'
git format-patch -q -1 --root
git config sendemail.smtpServer /usr/sbin/sendmail
git send-email --quiet --confirm=never --suppress-cc=all --to={to} 0001-by-git.patch
""",
    "mutt": """
echo body | HOME={base} mutt -n -e 'set copy=no' -e 'set from=ann@example.org' -s 'by mutt' {to}
""",
    "logwatch": """
mkdir -p /var/cache/logwatch
logwatch --output mail --mailto {to} --service zz-sys --range today
""",
}
NEEDED = {"cron": "cron", "php": "php", "git send-email": "git", "mutt": "mutt", "logwatch": "logwatch"}
SAYS = {
    "cron": "by cron",
    "php": "by PHP",
    "git send-email": "by git",
    "mutt": "by mutt",
    "logwatch": "Logwatch",
}


@pytest.fixture
def base() -> Iterator[Path]:
    with scratch() as path:
        yield path


def run_all(base: Path) -> None:
    """Run every program, each in a room of its own."""
    (base / "sendmail.toml").write_text(f'spool = "{base}/spool"\ndomain = "example.org"\n')
    for name, script in PROGRAMS.items():
        need(NEEDED[name])
        (base / "up").mkdir(exist_ok=True)
        room = ROOM.format(base=base, command=command(base))
        (base / "room").write_text(room)
        (base / "program").write_text("set -e\n" + script.format(base=base, to=TO))
        words = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "sh", base / "room"]
        done = subprocess.run(
            [*words, "sh", base / "program"], capture_output=True, text=True, check=False, timeout=180
        )
        assert done.returncode == 0, (name, done.stdout, done.stderr)


def test_all_of_them_are_relayed_once(base: Path) -> None:
    Queue(base / "spool").close()
    run_all(base)
    with Queue(base / "spool") as queue:
        there = queue.stats()["pending"]
    assert there >= len(PROGRAMS)
    work = [sys.executable, "-m", "maildir_safe", "work", base / "spool", "--once"]
    later = "smtpd_client_restrictions = check_client_access static:{450 4.2.1 come back later}"
    with with_mailboxes(base, later) as postfix:
        work += ["--to", f"smtp://127.0.0.1:{postfix.port}"]
        done = subprocess.run(work, check=False, timeout=120, capture_output=True, text=True)
        assert done.returncode == 75, done.stderr  # nothing could be delivered
        with Queue(base / "spool") as queue:
            assert queue.stats()["pending"] == there  # deferred, all of them
            config = base / "config/main.cf"
            config.write_text(config.read_text().replace("smtpd_client_restrictions", "#"))
            subprocess.run(
                [need("postfix"), "-c", base / "config", "reload"], check=True, capture_output=True
            )
        wait_for("all to be relayed", lambda: relayed(base, work))
        wait_for("all to be delivered", lambda: len(delivered(base / "boxes/all")) >= there)
    messages = [email.message_from_bytes(raw, policy=default) for raw in delivered(base / "boxes/all")]
    for name, said in SAYS.items():
        found = [one for one in messages if said in f"{one['Subject']} {one.get_content()}"]
        wanted = 2 if name == "php" else 1  # with its Bcc
        assert len(found) == wanted, (name, [one["Subject"] for one in messages])
        assert {"message-id", "date", "from"} <= {key.lower() for key in found[0]}, name
        assert "Bcc" not in found[0], name
    (php, _) = [one for one in messages if one["Subject"] == "by PHP"]
    assert php.get_content() == "a line\n.\nanother\n"


def relayed(base: Path, work: list[object]) -> bool:
    with Queue(base / "spool") as queue:  # a process from before the reload may have said 450 once more
        for entry in list(queue.items()):
            queue.retry(entry.item.id)
    subprocess.run(work, check=False, timeout=120, capture_output=True)  # type: ignore[call-overload]
    with Queue(base / "spool") as queue:
        return not any(queue.stats().values())
