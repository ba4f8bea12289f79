"""A server reaches itself whatever proxy the environment names."""

import httpx
import pytest

from ckf_demo.runtime.proxies import bypass_proxies


@pytest.mark.parametrize("already", ["", "example.org", "example.org, localhost"])
def test_the_own_address_is_not_asked_through_a_proxy(already, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://proxy.invalid:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, already)
    bypass_proxies("192.0.2.7")
    with httpx.Client() as client:
        for host in ("127.0.0.1", "localhost", "192.0.2.7", *(["example.org"] * bool(already))):
            direct = client._transport_for_url(httpx.URL(f"http://{host}:7860/"))
            assert direct is client._transport
        elsewhere = client._transport_for_url(httpx.URL("http://example.com/"))
        assert elsewhere is not client._transport
