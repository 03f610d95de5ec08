"""Describe a refused certificate: a configuration error that retries do not fix, with what to change."""

import ssl

from archiver.errors import ConfigurationError

# X509_V_ERR_* of OpenSSL's x509_vfy.h
_ADVICE = {
    9: "check the clock of this machine",  # not yet valid
    10: "renew it, or check the clock of this machine",  # expired
    62: "check AWS_ENDPOINT_URL: the certificate names other hosts",
    64: "check AWS_ENDPOINT_URL: the certificate names other addresses",
}
_UNKNOWN_ISSUER = "set AWS_CA_BUNDLE to a file (PEM) with the certificate of its issuer"


def certificate_error(host: str, error: ssl.SSLCertVerificationError) -> ConfigurationError:
    """Return the error for the certificate of *host*: why it was refused, and what to change."""
    advice = _ADVICE.get(error.verify_code, _UNKNOWN_ISSUER)
    return ConfigurationError(f"no connection to {host}: certificate refused: {error.verify_message}; {advice}")
