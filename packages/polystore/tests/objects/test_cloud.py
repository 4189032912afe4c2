from __future__ import annotations

import datetime
import ipaddress
import json
import logging
import os
import pickle  # noqa: TID251
import subprocess
import sys
import textwrap
import traceback
import uuid
from pathlib import Path
from typing import Any

import pytest

from polystore.errors import (
    AccessError,
    AlreadyExistsError,
    BusyError,
    NotFoundError,
    StorageError,
    UnreachableError,
    UnsafePathError,
)
from polystore.objects import CloudObjects, LocalObjects, open_objects
from polystore.testing import ObjectStoreTests

COUNTER = """
import json, sys
from polystore.objects import CloudObjects
store = CloudObjects(sys.argv[1], timeout=120)
number, times = int(sys.argv[2]), int(sys.argv[3])
store.scan()
print("ready", flush=True)
sys.stdin.readline()
def add(old):
    return json.dumps([*json.loads(old or b"[]"), [number, n]]).encode()
for n in range(times):
    store.update("d/plate.json", add)
"""


class TestS3(ObjectStoreTests):
    @pytest.fixture(autouse=True)
    def _place(self, bucket: str) -> None:
        self.url = bucket + "/some/prefix"

    def make_store(self) -> CloudObjects:
        return CloudObjects(self.url)


class TestMemory(ObjectStoreTests):
    def make_store(self) -> CloudObjects:
        return CloudObjects(f"memory://{uuid.uuid4()}/prefix")


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "rounds", [2, pytest.param(100, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
)
def test_eight_processes_lose_nothing(bucket: str, rounds: int) -> None:
    for round_ in range(rounds):
        url = f"{bucket}/{round_}"
        workers = [start(COUNTER, url, number, 3) for number in range(8)]
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("\n")
            worker.stdin.flush()
        for worker in workers:
            worker.communicate()
        assert [worker.returncode for worker in workers] == [0] * 8
        document = json.loads(CloudObjects(url).get("d/plate.json").data)
        assert sorted(document) == [[number, n] for number in range(8) for n in range(3)]


def test_prefixes_do_not_see_each_other(bucket: str) -> None:
    one, other = CloudObjects(f"{bucket}/a"), CloudObjects(f"{bucket}/ab")
    one.put("x", b"1")
    other.put("y", b"2")
    assert list(one.keys()) == ["x"]
    assert sorted(CloudObjects(bucket).keys()) == ["a/x", "ab/y"]
    assert CloudObjects(bucket).at("a").get("x").data == b"1"


def test_a_large_object_comes_in_parts(bucket: str, s3: Any) -> None:
    store = CloudObjects(bucket)
    data = os.urandom(40 << 20)
    s3.seen()
    store.put("big", data)
    assert s3.seen()["POST"] == 2  # begin and complete
    assert store.get("big").data == data


def test_a_forked_child_works(bucket: str) -> None:
    """Threads of the library stay in the parent; the child asks a process of its own."""
    if not hasattr(os, "fork"):
        return
    code = """
    import os, sys
    from polystore.errors import NotFoundError
    from polystore.objects import CloudObjects
    store = CloudObjects(sys.argv[1])
    store.put("a", b"1")
    child = os.fork()
    if child == 0:
        assert store.get("a").data == b"1"
        try:
            store.get("nowhere")
        except NotFoundError as exc:
            assert "nowhere" in str(exc)
        store.update("a", lambda old: old + b"2")
        assert not store.swap("a", b"", None)
        CloudObjects(sys.argv[1]).put("d/b", b"")
        assert sorted(store.keys()) == ["a", "d/b"]
        assert [e.name for e in store.scan("d")] == ["b"]
        grandchild = os.fork()
        if grandchild == 0:
            store.update("a", lambda old: old + b"3")
            os._exit(0)
        assert os.waitpid(grandchild, 0)[1] == 0
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert store.get("a").data == b"123"
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(code), bucket],
        check=False,
        timeout=60,
    )
    assert done.returncode == 0


# -- what servers and networks do


@pytest.mark.parametrize("kind", ["500", "503", "lost"])
def test_a_passing_fault_is_not_seen(bucket: str, s3: Any, kind: str) -> None:
    store = CloudObjects(bucket)
    store.put("a", b"0")
    for call in (
        lambda: store.get("a"),
        lambda: store.put("a", b"1"),
        lambda: store.put(f"new-{kind}", b"1", overwrite=False),
        lambda: store.update("a", lambda old: (old or b"") + b"2"),
        lambda: store.scan(),
    ):
        s3.fail(kind, 2)
        call()
    assert store.get("a").data == b"12"


def test_conditional_writes_that_meet_are_tried_again(bucket: str, s3: Any) -> None:
    store = CloudObjects(bucket)
    s3.fail("409", 2, "PUT")
    store.put("a", b"1", overwrite=False)
    s3.fail("409", 2, "PUT")
    assert store.update("a", lambda old: b"2") == b"2"


def test_an_answer_lost_on_the_way_is_not_somebody_elses(bucket: str, s3: Any) -> None:
    """Each change is made once, though its first answer never came."""
    store = CloudObjects(bucket)
    for _ in range(5):
        s3.fail("lost", 1, "PUT")
        store.update("n", lambda old: str(int(old or b"0") + 1).encode())
    assert store.get("n").data == b"5"
    s3.fail("lost", 1, "PUT")
    store.put("once", b"mine", overwrite=False)
    s3.fail("lost", 1, "PUT")
    with pytest.raises(AlreadyExistsError):
        store.put("once", b"mine", overwrite=False)


@pytest.mark.parametrize("kind", ["500", "hang"])
def test_a_server_that_stays_away_is_an_error_after_so_many_tries(bucket: str, s3: Any, kind: str) -> None:
    store = CloudObjects(bucket, retries=1, timeout=0.3)
    for call in (lambda: store.get("a"), lambda: store.swap("a", b"1", None), lambda: list(store.keys())):
        s3.seen()
        s3.fail(kind, 1000)
        with pytest.raises(UnreachableError, match=rf"{bucket}.*2 times.*check that {s3.url} is up"):
            call()
        s3.fail("", 0)
        assert sum(s3.seen().values()) == 2


def test_no_server_at_all(monkeypatch: pytest.MonkeyPatch, s3: Any) -> None:
    store = CloudObjects("s3://b/p", endpoint="http://127.0.0.1:1", retries=1)
    with pytest.raises(UnreachableError, match=r"s3://b/p/a.*http://127\.0\.0\.1:1") as caught:
        store.get("a")
    assert isinstance(caught.value, ConnectionError)


def test_a_bucket_that_is_not_there(s3: Any) -> None:
    store = CloudObjects("s3://no-such-bucket")
    for call in (
        lambda: store.get("a"),
        lambda: store.put("a", b""),
        lambda: store.update("a", lambda old: b"1"),
    ):
        with pytest.raises(NotFoundError, match="no such bucket"):
            call()


@pytest.mark.parametrize(
    "kind", ["ExpiredToken", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"]
)
def test_refused_credentials_are_told_and_not_shown(
    bucket: str, s3: Any, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    store = CloudObjects(bucket)
    for call in (
        lambda: store.get("a"),
        lambda: store.put("a", b""),
        lambda: store.update("a", lambda old: b"1"),
    ):
        s3.seen()
        s3.fail(kind, 1000)
        with pytest.raises(AccessError, match=f"{kind}.*AWS_ACCESS_KEY_ID") as caught:
            call()
        s3.fail("", 0)
        assert sum(s3.seen().values()) == 1  # asking again with the same keys is of no use
        shown = "".join(traceback.format_exception(caught.value)) + caplog.text
        assert "TESTSECRET" not in shown
        assert "TESTKEY" not in shown
    assert isinstance(caught.value, PermissionError)


def test_a_busy_key_is_an_error_in_the_end(bucket: str) -> None:
    store = CloudObjects(bucket, timeout=0.3)
    rival = CloudObjects(bucket)

    def change(old: bytes | None) -> bytes:
        rival.put("a", uuid.uuid4().bytes)
        return b"mine"

    with pytest.raises(BusyError, match=f"{bucket}/a was changed by others"):
        store.update("a", change)
    assert rival.get("a").data != b"mine"


# -- credentials


def test_nothing_holds_credentials(bucket: str) -> None:
    store = CloudObjects(bucket + "/p")
    store.put("a", b"1")
    zarr_store = store.zarr_store("z")
    for text in (repr(store), repr(zarr_store), str(vars(store)), repr(store.bucket)):
        assert "TEST" not in text
    for data in (pickle.dumps(store), pickle.dumps(zarr_store)):
        assert b"TEST" not in data


def test_a_profile_names_where_keys_are(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: Any
) -> None:
    (tmp_path / "credentials").write_text(
        "[lab]\naws_access_key_id = PROFILEKEY\naws_secret_access_key = PROFILESECRET\n[empty]\n"
    )
    (tmp_path / "config").write_text(f"[profile lab]\nregion = us-east-1\nendpoint_url = {s3.url}\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    store = CloudObjects(bucket, profile="lab")
    store.put("a", b"1")
    assert pickle.loads(pickle.dumps(store)).get("a").data == b"1"
    assert pickle.loads(pickle.dumps(store.zarr_store())).store is not None
    for data in (pickle.dumps(store), pickle.dumps(store.zarr_store()), repr(store).encode()):
        assert b"PROFILESECRET" not in data
        assert b"PROFILEKEY" not in data
    monkeypatch.setenv("AWS_PROFILE", "lab")
    assert CloudObjects(bucket).get("a").data == b"1"
    with pytest.raises(AccessError, match="no profile 'other'"):
        CloudObjects(bucket, profile="other").get("a")
    with pytest.raises(AccessError, match="profile 'empty'"):
        CloudObjects(bucket, profile="empty", endpoint=s3.url, retries=0).get("a")


def test_no_credentials_anywhere(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine in a cloud is asked last; on any other nobody answers, and that is said as what it means."""
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(AccessError, match="no credentials were found.*AWS_ACCESS_KEY_ID"):
        CloudObjects(bucket, retries=0).get("a")


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for loopback that nobody has signed, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "cert.pem", tmp_path / "key.pem"
    files[0].write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def test_a_facilitys_own_certificate(
    s3: Any, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not trusted, and said so, until AWS_CA_BUNDLE names it."""
    script = Path(__file__).parents[1] / "s3_server.py"
    server = subprocess.Popen(
        [sys.executable, script, *certificate], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url.startswith("https://")
        for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(name, raising=False)
        with pytest.raises(UnreachableError, match=r"s3://safe/a.*certificate is not trusted.*AWS_CA_BUNDLE"):
            CloudObjects("s3://safe", endpoint=url, retries=0).get("a")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate[0]))
        with pytest.raises(NotFoundError, match="no such bucket"):
            CloudObjects("s3://safe", endpoint=url, retries=0).get("a")
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "nowhere.pem"))
        with pytest.raises(StorageError, match=r"nowhere\.pem.*AWS_CA_BUNDLE"):
            CloudObjects("s3://safe", endpoint=url).get("a")
    finally:
        server.communicate()


@pytest.mark.parametrize(
    "url, options",
    [
        ("s3://KEY:SECRET@bucket/a", {}),
        ("s3://SECRET@bucket", {}),
        ("s3://bucket", {"secret_access_key": "SECRET"}),
        ("s3://bucket", {"access_key_id": "SECRET"}),
        ("s3://bucket", {"session_token": "SECRET"}),
        ("az://bucket", {"sas_token": "SECRET"}),
        ("az://bucket", {"account_key": "SECRET"}),
        ("s3://bucket", {"endpoint": "http://user:SECRET@host:9000"}),
        ("s3://bucket", {"endpoint": "http://host:9000/?token=SECRET"}),
    ],
)
def test_secrets_are_not_taken(url: str, options: dict[str, str]) -> None:
    with pytest.raises(UnsafePathError) as caught:
        CloudObjects(url, **options)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("url", ["bucket/a", "s3:///a", "ftp://host/a", "s3://"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(StorageError):
        CloudObjects(url)


def test_roots_and_urls(tmp_path: Path) -> None:
    assert open_objects(tmp_path) == LocalObjects(tmp_path)
    assert open_objects(f"file://{tmp_path}/a%20b") == LocalObjects(tmp_path / "a b")
    assert open_objects("C:/data").__class__ is LocalObjects
    assert open_objects("s3://bucket/p/", retries=2) == CloudObjects("s3a://bucket/p", retries=2)
    assert open_objects("gs://bucket/p") != open_objects("s3://bucket/p")


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(StorageError, match="s3://bucket"):
        CloudObjects("s3://bucket", no_such_setting="1").get("a")
