"""
`[callbacks]` of the operator's policy file: the hosts that requests may have their answers posted to.

    [callbacks]
    hosts = ["hooks.example.com"]
"""

from archiver.core.policy_text import PolicyText
from archiver.core.webhooks import CallbackRules, is_host_name


def read_callbacks(file: PolicyText, section: object) -> CallbackRules:
    """Return what *section* allows; what is wrong with it is reported to *file*."""
    table = file.table(("callbacks",), section)
    file.check_keys(("callbacks",), table, ["hosts"])
    hosts = table.get("hosts", [])
    if isinstance(hosts, list) and all(isinstance(host, str) and is_host_name(host.lower()) for host in hosts):
        return CallbackRules(frozenset(host.lower() for host in hosts))
    told = 'should be a list of names of hosts, such as ["hooks.example.com"]: no addresses, ports, paths or wildcards'
    file.report(("callbacks", "hosts"), told)
    return CallbackRules()
