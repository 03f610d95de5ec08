"""What data.yaml says once it is resolved: queues, archives and links."""

from archiver.core.attributes import EXPIRY_TAG

from .stack_values import DAY, each, environment, secrets, statements
from .template import ACCOUNT, EVERYTHING, KEY, PEM, REGION, REQUIRED, SECRET, SIGNED, BothStacks, merged_section

# ---- queues


@each
def test_every_queue_is_encrypted_and_takes_tls_alone(given: dict[str, str]) -> None:
    stack = BothStacks(given)
    queues = stack.of_type("AWS::SQS::Queue")
    policies = stack.of_type("AWS::SQS::QueuePolicy").values()
    governed = [url.rpartition("/")[2] for policy in policies for url in policy["Queues"]]

    key = given.get("QueueKeyArn")
    assert {(one.get("SqsManagedSseEnabled"), one.get("KmsMasterKeyId")) for one in queues.values()} == {
        (None, key) if key else (True, None)
    }
    assert sorted(governed) == sorted(one.get("QueueName", name) for name, one in queues.items())
    for policy in policies:
        tls = statements(policy["PolicyDocument"])["TlsOnly"]
        assert (tls["Effect"], tls["Principal"], tls["Action"]) == ("Deny", "*", "sqs:*")
        assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_another_account_may_send_requests_or_receive_answers_where_it_is_named() -> None:
    stack = BothStacks(EVERYTHING)
    producers = statements(stack.resources["SourceQueuePolicy"]["PolicyDocument"])["Producers"]
    consumers = statements(stack.resources["AnswerQueuesPolicy"]["PolicyDocument"])["Consumers"]

    assert producers["Principal"] == {"AWS": EVERYTHING["ProducerArns"].split(", ")}
    assert "sqs:SendMessage" in producers["Action"] and "sqs:ReceiveMessage" not in producers["Action"]
    assert consumers["Principal"] == {"AWS": [EVERYTHING["ConsumerArns"]]}
    assert "sqs:ReceiveMessage" in consumers["Action"] and "sqs:SendMessage" not in consumers["Action"]
    for policy in BothStacks(REQUIRED).of_type("AWS::SQS::QueuePolicy").values():
        assert set(statements(policy["PolicyDocument"])) == {"TlsOnly"}


def test_every_queue_that_is_received_from_and_kept_has_a_dead_letter_queue_for_it_alone() -> None:
    """A failure answer that its consumer fails at does not circle for days either."""
    resources = BothStacks(REQUIRED).data
    for name, queue in resources.of_type("AWS::SQS::Queue").items():
        if "RedrivePolicy" in queue:
            target = queue["RedrivePolicy"]["deadLetterTargetArn"].rpartition(":")[2]
            allowed = resources.resources[target]["RedriveAllowPolicy"]
            assert allowed["redrivePermission"] == "byQueue"
            assert f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue['QueueName']}" in allowed["sourceQueueArns"], name
        else:
            assert name in ("DeadLetterQueue", "AnswerDeadLetterQueue", "JobProgressQueue")


def test_a_rejected_message_is_kept_longer_than_it_could_have_waited_before() -> None:
    stack = BothStacks(REQUIRED)
    for queue in stack.of_type("AWS::SQS::Queue").values():
        if "RedrivePolicy" in queue:
            dead = stack.resources[queue["RedrivePolicy"]["deadLetterTargetArn"].rpartition(":")[2]]
            assert dead["MessageRetentionPeriod"] == 14 * DAY
            assert queue["MessageRetentionPeriod"] < dead["MessageRetentionPeriod"]


def test_a_stack_that_is_deleted_leaves_what_may_be_wanted_and_one_that_never_was_leaves_nothing() -> None:
    """`Retain` would also hold for what a create that failed has made."""
    resources = merged_section("Resources")
    kept = {name for name, told in resources.items() if told.get("DeletionPolicy") == "RetainExceptOnCreate"}

    assert {told.get("DeletionPolicy") for told in resources.values()} == {None, "Delete", "RetainExceptOnCreate"}
    assert kept == {
        "ArchiveBucket",
        "ArchiveBucketPolicy",
        "ArchiveKeySecret",
        "DeadLetterQueue",
        "AnswerDeadLetterQueue",
        "DeadLetterQueuesPolicy",
    }
    assert all(resources[name]["UpdateReplacePolicy"] == "Retain" for name in kept)


# ---- archives


def test_the_bucket_is_private_encrypted_and_tidy() -> None:
    bucket = BothStacks(REQUIRED | {"ArchiveDays": "7"}).resources["ArchiveBucket"]
    public, rules = bucket["PublicAccessBlockConfiguration"], bucket["LifecycleConfiguration"]["Rules"]
    (encryption,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]

    assert len(public) == 4 and all(value is True for value in public.values())
    assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    assert encryption["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    assert rules == [
        {
            "Id": "AbortIncompleteUploads",
            "Status": "Enabled",
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        },
        {"Id": "ExpireArchives", "Status": "Enabled", "ExpirationInDays": "7"},
    ]


def test_archives_expire_by_their_tags_where_that_is_turned_on() -> None:
    _, _, *rules = BothStacks(REQUIRED | {"ExpiryRules": "yes"}).resources["ArchiveBucket"]["LifecycleConfiguration"][
        "Rules"
    ]
    assert [(rule["Status"], rule["TagFilters"], int(rule["ExpirationInDays"])) for rule in rules] == [
        ("Enabled", [{"Key": EXPIRY_TAG, "Value": f"{days}d"}], days) for days in (1, 3, 7, 14)
    ]


def test_who_downloaded_what_can_be_told_where_there_is_a_bucket_for_it() -> None:
    stack = BothStacks(EVERYTHING)

    assert stack.resources["ArchiveBucket"]["LoggingConfiguration"] == {
        "DestinationBucketName": "access-logs",
        "LogFilePrefix": "s3/",
    }
    logging = stack.resources["Distribution"]["DistributionConfig"]["Logging"]
    assert logging == {"Bucket": "access-logs.s3.amazonaws.com", "Prefix": "cloudfront/"}
    assert "LoggingConfiguration" not in BothStacks(REQUIRED).resources["ArchiveBucket"]


def test_keys_of_ones_own_encrypt_what_they_are_given_for() -> None:
    stack = BothStacks(EVERYTHING)
    (encryption,) = stack.resources["ArchiveBucket"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]

    assert encryption["ServerSideEncryptionByDefault"] == {
        "SSEAlgorithm": "aws:kms",
        "KMSMasterKeyID": f"{KEY}-archives",
    }
    assert encryption["BucketKeyEnabled"] is True
    assert stack.resources["ArchiveKeySecret"]["KmsKeyId"] == f"{KEY}-secrets"
    assert stack.resources["LogGroup"]["KmsKeyId"] == f"{KEY}-logs"


def test_without_cloudfront_there_is_nothing_of_it() -> None:
    stack = BothStacks(REQUIRED | {"CloudFront": "no"})

    assert [kind for kind in stack.types.values() if "CloudFront" in kind] == []
    assert set(statements(stack.resources["ArchiveBucketPolicy"]["PolicyDocument"])) == {"TlsOnly"}
    assert not {"BaseUrl", "DistributionDomain"} & set(stack.outputs)
    assert "ARCHIVE_BASE_URL" not in {
        one["Name"] for one in stack.resources["TaskDefinition"]["ContainerDefinitions"][0]["Environment"]
    }


def test_the_name_of_the_access_control_fits_whatever_the_stack_is_called() -> None:
    """CloudFront takes 64 characters, a stack's name may have 128."""
    assert len(BothStacks(REQUIRED).resources["OriginAccessControl"]["OriginAccessControlConfig"]["Name"]) == 36


def test_an_archive_outlives_its_link_by_default() -> None:
    defaults = {name: told.get("Default") for name, told in merged_section("Parameters").items()}

    assert int(defaults["ArchiveDays"]) * DAY >= int(defaults["LinkExpiresIn"])


@each
def test_the_bucket_is_read_by_its_own_distribution_and_over_tls_alone(given: dict[str, str]) -> None:
    policy = BothStacks(given).resources["ArchiveBucketPolicy"]
    had = statements(policy["PolicyDocument"])

    assert set(had) == {"TlsOnly", "CloudFrontReads"}
    tls, reads = had["TlsOnly"], had["CloudFrontReads"]
    assert (tls["Effect"], tls["Principal"], tls["Action"]) == ("Deny", "*", "s3:*")
    assert tls["Resource"] == ["arn:aws:s3:::archivebucket", "arn:aws:s3:::archivebucket/*"]
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert reads["Principal"] == {"Service": "cloudfront.amazonaws.com"}
    assert (reads["Action"], reads["Resource"]) == ("s3:GetObject", "arn:aws:s3:::archivebucket/*.zip")
    source = {"AWS:SourceArn": f"arn:aws:cloudfront::{ACCOUNT}:distribution/Distribution"}
    assert reads["Condition"] == {"StringEquals": source}


@each
def test_cloudfront_serves_the_bucket_over_https_by_its_own_signature(given: dict[str, str]) -> None:
    stack = BothStacks(given)
    config = stack.resources["Distribution"]["DistributionConfig"]
    (origin,) = config["Origins"]
    control = stack.resources["OriginAccessControl"]["OriginAccessControlConfig"]

    assert origin["DomainName"] == "ArchiveBucket.RegionalDomainName"
    assert origin["OriginAccessControlId"] == "OriginAccessControl.Id"
    assert (control["SigningBehavior"], control["OriginAccessControlOriginType"]) == ("always", "s3")
    assert config["DefaultCacheBehavior"]["ViewerProtocolPolicy"] == "https-only"
    assert config["DefaultCacheBehavior"]["AllowedMethods"] == ["GET", "HEAD"]
    assert "CacheBehaviors" not in config


def test_links_lead_to_the_distribution_or_to_its_other_name() -> None:
    named = REQUIRED | {key: EVERYTHING[key] for key in ("DomainName", "CertificateArn")}
    config = BothStacks(named).resources["Distribution"]["DistributionConfig"]

    assert environment(REQUIRED)["ARCHIVE_BASE_URL"] == "https://Distribution.DomainName"
    assert environment(named)["ARCHIVE_BASE_URL"] == "https://files.example.com"
    assert config["Aliases"] == ["files.example.com"]
    assert config["ViewerCertificate"]["AcmCertificateArn"] == EVERYTHING["CertificateArn"]


# ---- signed links


def signing(given: dict[str, str]) -> tuple[str | None, list[str] | None, list[str]]:
    """What links are signed for, which groups CloudFront asks a signature of, and the keys of the group."""
    stack = BothStacks(given)
    groups = stack.resources["Distribution"]["DistributionConfig"]["DefaultCacheBehavior"].get("TrustedKeyGroups")
    keys = stack.resources.get("SigningKeyGroup", {}).get("KeyGroupConfig", {}).get("Items", [])
    return environment(given).get("CLOUDFRONT_KEY_ID"), groups, keys


def test_without_keys_links_are_not_signed() -> None:
    assert signing(REQUIRED) == (None, None, [])


def test_a_key_can_be_there_before_links_are_signed_for_it() -> None:
    assert signing(REQUIRED | {"SigningPublicKeyA": PEM}) == (None, None, ["CloudFrontKeyA"])


def test_links_are_signed_for_the_key_that_is_chosen_and_links_of_the_other_still_work() -> None:
    both = REQUIRED | SIGNED | {"SigningPublicKeyB": PEM}

    assert signing(REQUIRED | SIGNED) == ("CloudFrontKeyA", ["SigningKeyGroup"], ["CloudFrontKeyA"])
    assert signing(both) == ("CloudFrontKeyA", ["SigningKeyGroup"], ["CloudFrontKeyA", "CloudFrontKeyB"])
    assert signing(both | {"SigningKey": "B"})[0] == "CloudFrontKeyB"
    assert secrets(both)["CLOUDFRONT_PRIVATE_KEY"] == SECRET
