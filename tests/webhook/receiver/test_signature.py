"""Verification: what is Recall's passes, and nothing else does, whatever it looks like."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime

import pytest
import standardwebhooks
import svix
from hypothesis import given
from hypothesis import strategies as st

from models.settings.credentials import WebhookSecret
from webhook.receiver.signature import Reason, UnverifiedError, verify

NOW = 1_790_000_000
SECRET = "whsec_" + base64.b64encode(b"first secret of the tests").decode()
OTHER = "whsec_" + base64.b64encode(b"second secret of the tests").decode()
BODY = b'{"event":"bot.done","data":{}}'


def sign(
    body: bytes = BODY,
    secret: str = SECRET,
    message_id: str = "msg_2f",
    timestamp: str = str(NOW),
    family: str = "webhook",
) -> dict[str, str]:
    """Sign by the algorithm's own words, not by ours."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        f"{family}-id": message_id,
        f"{family}-timestamp": timestamp,
        f"{family}-signature": f"v1,{digest}",
    }


def check(headers: dict[str, str], body: bytes = BODY, *secrets: str, now: float = NOW) -> str:
    """Return the reason a request is refused for, or how it was proved."""
    parsed = [WebhookSecret.parse(secret) for secret in secrets or (SECRET,)]
    try:
        verified = verify(headers, body, parsed, now, 300)
    except UnverifiedError as error:
        return str(error.reason)
    return f"{verified.scheme} {verified.message_id}"


@pytest.mark.parametrize("family", ["svix", "webhook"])
def test_either_header_family_proves_a_request(family: str) -> None:
    """Which one comes depends on the age of the Recall account."""
    assert check(sign(family=family)) == f"{family} msg_2f"


@pytest.mark.parametrize("family", ["svix", "webhook"])
def test_both_public_packages_sign_what_we_accept(family: str) -> None:
    """Our code is held to the two reference implementations."""
    moment = datetime.fromtimestamp(NOW, UTC)
    text = BODY.decode()
    for package in (svix, standardwebhooks):
        signature = package.Webhook(SECRET).sign("msg_2f", moment, text)
        headers = sign(family=family) | {f"{family}-signature": signature}
        assert check(headers) == f"{family} msg_2f"


@given(
    text=st.text(max_size=200),
    message_id=st.from_regex(r"[A-Za-z0-9_.-]{1,200}", fullmatch=True),
)
def test_what_we_accept_both_public_packages_accept(text: str, message_id: str) -> None:
    """Any body, any id: the packages agree (they look at the clock, so the time is now)."""
    now = int(datetime.now(UTC).timestamp())
    body = json.dumps(text)
    headers = sign(body.encode(), message_id=message_id, timestamp=str(now))
    assert check(headers, body.encode(), now=now) == f"webhook {message_id}"
    standardwebhooks.Webhook(SECRET).verify(body, headers)
    svix.Webhook(SECRET).verify(body, headers)


def test_the_documented_vector_is_accepted() -> None:
    """The one of https://docs.svix.com/receiving/verifying-payloads/how-manual."""
    headers = {
        "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "svix-timestamp": "1614265330",
        "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    found = check(headers, b'{"test": 2432232314}', secret, now=1614265330)
    assert found == "svix msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_any_of_several_secrets_proves_a_request() -> None:
    """So that a rotation needs no downtime."""
    assert check(sign(secret=OTHER), BODY, SECRET, OTHER) == "webhook msg_2f"
    assert check(sign(secret=OTHER), BODY, SECRET) == Reason.NO_MATCHING_SIGNATURE


def test_any_of_several_signatures_proves_a_request() -> None:
    """A sender in mid-rotation signs with both keys, and may add versions we do not know."""
    good = sign()["webhook-signature"]
    for header in (f"v1a,junk {good}", f"{good} v2,x", f"v1,%%% v1 ,, v1,a,b {good}"):
        assert check(sign() | {"webhook-signature": header}) == "webhook msg_2f"


def test_the_work_a_stranger_can_cause_is_bounded() -> None:
    """A signature behind sixteen others is not looked for."""
    header = "v1,AAAA " * 16 + sign()["webhook-signature"]
    assert check(sign() | {"webhook-signature": header}) == Reason.NO_MATCHING_SIGNATURE


@pytest.mark.parametrize("missing", ["id", "timestamp", "signature"])
def test_headers_of_two_families_are_never_mixed(missing: str) -> None:
    """Two thirds of one and one third of the other prove nothing."""
    headers = sign()
    headers[f"svix-{missing}"] = headers.pop(f"webhook-{missing}")
    assert check(headers) == Reason.MISSING_HEADER


def test_an_empty_family_does_not_hide_the_whole_one() -> None:
    """An empty svix-id beside three good webhook-* headers is no reason to refuse."""
    assert check({"svix-id": "", "svix-timestamp": "1"} | sign()) == "webhook msg_2f"


def test_a_false_family_does_not_hide_the_true_one() -> None:
    """With both families whole, either may prove the request, each by itself."""
    false = sign(secret=OTHER, message_id="msg_false", family="webhook")
    assert check(false | sign(family="svix")) == "svix msg_2f"


@pytest.mark.parametrize(
    ("age", "reason"),
    [(300, None), (301, Reason.STALE_TIMESTAMP), (-300, None), (-301, Reason.FUTURE_TIMESTAMP)],
)
def test_the_tolerance_is_the_same_both_ways(age: int, reason: Reason | None) -> None:
    """±300 s, to the second."""
    assert check(sign(timestamp=str(NOW - age))) == (reason or "webhook msg_2f")


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "a b"},
        {"webhook-id": "x" * 201},
        {"webhook-id": "msg_2f\n"},
        {"webhook-id": "msg_2f, msg_2f"},
        {"webhook-id": "../etc"},
        {"webhook-timestamp": "nan"},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "9" * 20},
        {"webhook-timestamp": "١٧٩٠٠٠٠٠٠٠"},
        {"webhook-timestamp": f"{NOW}.9"},
        {"webhook-timestamp": f" {NOW}"},
        {"webhook-timestamp": "1_790_000_000"},
    ],
)
def test_malformed_headers_are_refused_as_such(change: dict[str, str]) -> None:
    """Also what the public packages would let pass."""
    assert check(sign() | change) == Reason.MALFORMED_HEADER


@pytest.mark.parametrize(
    "signature",
    ["v1", "v1,a,b", "v1,%%%%", "v1,abc", "v1,\xff", "v1a,AAAA", "v2,AAAA", ",", " ", "v1,=\n=="],
)
def test_signatures_that_are_none_are_refused(signature: str) -> None:
    """Four of these raise foreign errors in the public packages."""
    assert check(sign() | {"webhook-signature": signature}) == Reason.NO_MATCHING_SIGNATURE


def test_a_changed_body_id_or_time_is_refused() -> None:
    """The signature is over all three."""
    assert check(sign(), BODY + b" ") == Reason.NO_MATCHING_SIGNATURE
    assert check(sign() | {"webhook-id": "msg_2g"}) == Reason.NO_MATCHING_SIGNATURE
    later = {"webhook-timestamp": str(NOW + 1)}
    assert check(sign() | later) == Reason.NO_MATCHING_SIGNATURE


def test_a_signature_with_garbage_inside_is_refused() -> None:
    """Lenient base64 would pass over it."""
    version, digest = sign()["webhook-signature"].split(",")
    header = f"{version},{digest[:5]}\n!{digest[5:]}"
    assert check(sign() | {"webhook-signature": header}) == Reason.NO_MATCHING_SIGNATURE


@given(
    headers=st.dictionaries(
        st.sampled_from(sorted({*sign(family="svix"), *sign(family="webhook")})),
        st.text(max_size=40),
    ),
    body=st.binary(max_size=40),
)
def test_no_input_makes_it_raise_anything_else(headers: dict[str, str], body: bytes) -> None:
    """One typed failure: whatever a stranger sends, the answer is a reason."""
    assert check(headers, body) in set(Reason)


@pytest.mark.parametrize("text", ["plainsecret", "whsec_", "whsec_%%%", "whsec_a", ""])
def test_a_secret_that_is_none_is_refused_at_boot(text: str) -> None:
    """The packages decode it to some other key and then refuse everything."""
    with pytest.raises(ValueError, match="whsec_"):
        WebhookSecret.parse(text)


def test_a_secret_never_shows_its_key() -> None:
    """Only its fingerprint may be printed."""
    secret = WebhookSecret.parse(SECRET)
    assert SECRET.removeprefix("whsec_") not in repr(secret)
    assert "first secret" not in repr(secret)
    assert secret.fingerprint in repr(secret)
