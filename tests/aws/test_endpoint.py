"""Where buckets are reached."""

import pytest

from archiver.aws.endpoint import Endpoint, UnusableNameError, encoded_path
from archiver.core.locations import Location
from archiver.http.pool import Origin


def reached(endpoint: Endpoint, bucket: str, key: str = "a/b.jpg") -> tuple[str, str, str]:
    place = endpoint.resolve(bucket)
    return place.host, encoded_path(place, Location(bucket, key)), place.region


@pytest.mark.parametrize(
    ("url", "region", "host"),
    [
        ("https://s3.eu-west-1.amazonaws.com", "eu-west-1", "photos.s3.eu-west-1.amazonaws.com"),
        ("https://s3.amazonaws.com", "us-east-1", "photos.s3.us-east-1.amazonaws.com"),
        ("https://s3.amazonaws.com", "aws-global", "photos.s3.us-east-1.amazonaws.com"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1", "photos.s3.cn-north-1.amazonaws.com.cn"),
        ("https://s3.dualstack.eu-west-1.amazonaws.com", "eu-west-1", "photos.s3.dualstack.eu-west-1.amazonaws.com"),
        ("https://s3-fips.us-east-1.amazonaws.com", "us-east-1", "photos.s3-fips.us-east-1.amazonaws.com"),
        (
            "https://s3-fips.dualstack.us-east-1.amazonaws.com",
            "us-east-1",
            "photos.s3-fips.dualstack.us-east-1.amazonaws.com",
        ),
    ],
)
def test_aws_is_spoken_to_by_virtual_host(url: str, region: str, host: str) -> None:
    endpoint = Endpoint(url, region)
    assert reached(endpoint, "photos")[:2] == (host, "/a/b.jpg")
    assert endpoint.resolve("photos").origin == Origin(tls=True, host=host, port=443)


@pytest.mark.parametrize("bucket", ["my.photos", "Photos", "photos_2024", "x" * 64])
def test_bucket_that_is_no_single_host_label_goes_into_the_path(bucket: str) -> None:
    endpoint = Endpoint("https://s3.eu-west-1.amazonaws.com", "eu-west-1")
    assert reached(endpoint, bucket) == ("s3.eu-west-1.amazonaws.com", f"/{bucket}/a/b.jpg", "eu-west-1")


def test_path_style_can_be_forced_on_aws() -> None:
    endpoint = Endpoint("https://s3.eu-west-1.amazonaws.com", "eu-west-1", style="path")
    assert reached(endpoint, "photos")[:2] == ("s3.eu-west-1.amazonaws.com", "/photos/a/b.jpg")


@pytest.mark.parametrize(
    ("url", "host", "origin"),
    [
        ("http://127.0.0.1:9000", "127.0.0.1:9000", Origin(tls=False, host="127.0.0.1", port=9000)),
        ("http://localhost", "localhost", Origin(tls=False, host="localhost", port=80)),
        ("https://localhost:80/", "localhost:80", Origin(tls=True, host="localhost", port=80)),
        ("https://minio.example.com:443", "minio.example.com", Origin(tls=True, host="minio.example.com", port=443)),
        ("http://[::1]:9000", "[::1]:9000", Origin(tls=False, host="::1", port=9000)),
        (
            "https://bucket.vpce-1a-2b.s3.eu-west-1.vpce.amazonaws.com",
            "bucket.vpce-1a-2b.s3.eu-west-1.vpce.amazonaws.com",
            Origin(tls=True, host="bucket.vpce-1a-2b.s3.eu-west-1.vpce.amazonaws.com", port=443),
        ),
    ],
)
def test_custom_endpoint_is_spoken_to_by_path(url: str, host: str, origin: Origin) -> None:
    endpoint = Endpoint(url, "eu-west-1")
    assert reached(endpoint, "photos") == (host, "/photos/a/b.jpg", "eu-west-1")
    assert endpoint.resolve("photos").origin == origin


def test_custom_endpoint_may_have_a_path_of_its_own() -> None:
    assert reached(Endpoint("http://proxy:8080/s3/", None), "photos") == (
        "proxy:8080",
        "/s3/photos/a/b.jpg",
        "us-east-1",
    )


@pytest.mark.parametrize(
    "bucket", ["", "ab", "..", "a/b", "a b", "evil.example.com/", "a\r\nX: y", "a@b", "a?b", "a#b", "é" * 3, "-abc"]
)
def test_name_that_no_bucket_has_reaches_no_host_and_no_header(bucket: str) -> None:
    for url in ("https://s3.eu-west-1.amazonaws.com", "http://127.0.0.1:9000"):
        with pytest.raises(UnusableNameError):
            Endpoint(url, "eu-west-1").resolve(bucket)


def test_lone_surrogate_is_no_key() -> None:
    with pytest.raises(UnusableNameError):
        reached(Endpoint("http://127.0.0.1:9000", None), "photos", "\ud800")


def test_learned_region_moves_one_bucket_and_is_worth_asking_for_whoever_asked_elsewhere() -> None:
    endpoint = Endpoint("https://s3.dualstack.us-east-1.amazonaws.com", "us-east-1")
    first = endpoint.resolve("photos")
    assert endpoint.record_region("photos", "eu-west-1", first)
    assert reached(endpoint, "photos")[0] == "photos.s3.dualstack.eu-west-1.amazonaws.com"
    assert reached(endpoint, "photos")[2] == "eu-west-1"
    assert reached(endpoint, "others")[2] == "us-east-1"
    assert endpoint.record_region(
        "photos", "eu-west-1", first
    )  # another request that was under way: no news, but no use either
    assert not endpoint.record_region("photos", "eu-west-1", endpoint.resolve("photos"))


@pytest.mark.parametrize("region", ["", "us-east-1", "evil.example.com/", "x\r\ny", "EU"])
def test_region_that_is_none_or_was_asked_is_not_learned(region: str) -> None:
    endpoint = Endpoint("https://s3.amazonaws.com", "us-east-1")
    assert not endpoint.record_region("photos", region, endpoint.resolve("photos"))
    assert endpoint.resolve("photos").region == "us-east-1"


def test_custom_endpoint_learns_no_region() -> None:
    endpoint = Endpoint("http://127.0.0.1:9000", "us-east-1")
    assert not endpoint.record_region("photos", "eu-west-1", endpoint.resolve("photos"))


@pytest.mark.parametrize("url", ["ftp://storage.example", "storage.example:9000"])
def test_an_endpoint_that_is_not_http_is_refused_in_a_sentence(url: str) -> None:
    with pytest.raises(ValueError, match="neither http"):
        Endpoint(url, "us-east-1")


POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint/team-photos"


def test_access_point_is_reached_in_its_own_region() -> None:
    endpoint = Endpoint("https://s3-fips.dualstack.us-east-1.amazonaws.com", "us-east-1")
    host = "team-photos-123456789012.s3-accesspoint-fips.dualstack.us-west-2.amazonaws.com"
    assert reached(endpoint, POINT) == (host, "/a/b.jpg", "us-west-2")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:9000", "use the access point's alias"),
        ("https://s3.cn-north-1.amazonaws.com.cn", "another AWS partition"),
    ],
)
def test_access_point_that_this_endpoint_does_not_lead_to_says_so(url: str, told: str) -> None:
    with pytest.raises(UnusableNameError, match=told):
        Endpoint(url, "us-east-1").resolve(POINT)
