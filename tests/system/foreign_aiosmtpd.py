"""Why tests of aiosmtpd's own suite differ on our server: for each reason the tests, as pytest names them."""

from __future__ import annotations

SMTP, TLS = "test_smtp.py::", "test_starttls.py::"


def _names(file_and_class: str, *tests: str) -> list[str]:
    return [f"{file_and_class}::{test}" for test in tests]


def _each(file_class_and_test: str, *parameters: object) -> list[str]:
    return [f"{file_class_and_test}[{parameter}]" for parameter in parameters]


_BASIC, _MORE = f"{SMTP}TestSMTP", f"{SMTP}TestSMTPWithController"

_QUOTED = (18, 22, 24, 25, 28, 29, 30, 31, 32, 33)  # numbers of addresses in their list

DIFFERENT = {
    "HELP is answered 214, as RFC 5321 4.2.2 says, and refers to the RFC; theirs is 250 with a syntax": [
        *_names(_BASIC, "test_help", "test_help_bad_arg"),
        *_each(f"{_BASIC}::test_help_", "HELO", "EHLO", "MAIL", "RCPT", "DATA", "RSET", "NOOP", "QUIT"),
        *_each(f"{_BASIC}::test_help_", "VRFY", "AUTH"),
        *_each(f"{_BASIC}::test_help_esmtp", "MAIL", "RCPT"),
        f"{SMTP}TestRequiredAuthentication::test_help_authenticated",
        "test_lmtp.py::test_help",
        *_names(f"{TLS}TestStartTLS", "test_help_starttls", "test_help_after_starttls"),
    ],
    "the test compares the whole list of extensions, and ours has more; HELP is not an extension": [
        f"{_BASIC}::test_ehlo",
        f"{SMTP}TestAuthMechanisms::test_ehlo",
        "test_lmtp.py::test_lhlo",
    ],
    "bytes that are not text in place of a command: we hang up (421), a web page may have sent them": [
        *_each(f"{_BASIC}::test_binary", r"\x80FAIL\r\n", r"\x80 FAIL\r\n"),
    ],
    "an address with spaces, quotes or backslashes needs the angle brackets that RFC 5321 4.1.2 requires": [
        *_each(f"{_BASIC}::test_mail_valid_address", *_QUOTED),
        *_each(f"{_BASIC}::test_rcpt_valid_address", *_QUOTED),
    ],
    "an address of more than 320 bytes is refused: RFC 5321 4.5.3.1 ends at 64 + 1 + 255": [
        *_each(f"{_BASIC}::test_mail_valid_address", 38, 39),
        *_each(f"{_BASIC}::test_rcpt_valid_address", 38, 39, 41, 42),
    ],
    "no address where one must be: 553, and an unknown parameter of RCPT 555, where theirs says 501": [
        f"{_BASIC}::test_mail_smtp_errsyntax[noaddr]",
        f"{_BASIC}::test_rcpt_smtp_errsyntax[noaddr]",
        f"{_BASIC}::test_rcpt_esmtp_errsyntax[noaddr]",
        f"{_BASIC}::test_rcpt_smtp_errsyntax[params]",
    ],
    "a known parameter of MAIL is accepted after HELO too: it does no harm": [
        f"{_BASIC}::test_mail_smtp_errsyntax[params_noesmtp]",
    ],
    "a sender who cannot exist is stored as given; mail is not refused for it (a recipient is)": [
        *_each(f"{_BASIC}::test_mail_invalid_address", 0, 1),
        *_each(f"{_BASIC}::test_mail_esmtp_invalid_address", 0, 1),
    ],
    "VRFY is answered 252 whatever the address is (RFC 5321 7.3)": [f"{_BASIC}::test_vrfy_not_address"],
    "a server that stops says 421 first, and smtplib's QUIT raises on that": [
        f"{_BASIC}::test_data_354",
        f"{TLS}TestTLSEnding::test_eof_received",
    ],
    "a client that was silent for too long reads 421 first, then the end": [
        f"{SMTP}TestTimeout::test_timeout"
    ],
    "AUTH without a mechanism is a syntax error (501) wherever it comes": [
        *_names(f"{SMTP}TestSMTPAuth", "test_no_ehlo", "test_helo", "test_already_authenticated"),
        f"{TLS}TestRequireTLSAUTH::test_auth_notls",
    ],
    "no password file is given, so any password is accepted (test mode)": [
        f"{TLS}TestRequireTLSAUTH::test_auth_tls",
    ],
    "a mechanism of AUTH that the test's handler adds: aiosmtpd's Python interface": [
        f"{SMTP}TestSMTPAuth::test_auth_loginteract_warning",
        *_names(f"{SMTP}TestAuthMechanisms", "test_custom_mechanism", "test_DENYFALSE"),
        *_names(f"{SMTP}TestAuthMechanisms", "test_DENYMISSING", "test_NONE"),
    ],
    "an argument of aiosmtpd's that `authenticator` is, with its session object": [
        *_names(f"{SMTP}TestAuthenticator", "test_success", "test_fail_withmesg"),
    ],
    "the test reads aiosmtpd's own log; ours never has an AUTH line": [
        f"{SMTP}TestAuthMechanisms::test_plain1_goodcreds_sanitized_log",
    ],
    "a hook of the test's handler answers or raises: aiosmtpd's Python interface": [
        *_names(f"{SMTP}TestResetCommands", "test_helo", "test_ehlo", "test_rset"),
        *_names(_MORE, "test_process_message_error", "test_unexpected_errors"),
        *_names(_MORE, "test_unexpected_errors_unhandled", "test_unexpected_errors_custom_response"),
        *_names(_MORE, "test_exception_handler_exception", "test_exception_handler_undescribable"),
        f"{TLS}TestStartTLS::test_failed_handshake",
        f"{TLS}TestTLSEnding::test_tls_handshake_failing",
    ],
    "the test looks into aiosmtpd's protocol object (`smtpd`); test_smtp_ends.py tests these ends of ours": [
        f"{SMTP}TestCustomization::test_limitlocalpart",
        *_names(f"{SMTP}TestClientCrash", "test_connection_reset_during_DATA", "test_close_in_data"),
        *_names(f"{SMTP}TestClientCrash", "test_connection_reset_during_command", "test_close_in_command"),
        *_names(f"{SMTP}TestClientCrash", "test_connection_reset_in_long_command", "test_close_in_command_2"),
        *_names(f"{SMTP}TestClientCrash", "test_close_in_long_command", "test_sockclose_after_helo"),
    ],
    "SIZE is always offered: there is always a limit": [f"{_MORE}::test_esmtp_no_size_limit"],
    "the greeting is ours, and cannot be chosen": [
        *_names(f"{SMTP}TestCustomization", "test_default_greeting", "test_custom_greeting"),
    ],
    "an address that is not UTF-8 is refused: RFC 6531 allows no other bytes": [
        f"{_MORE}::test_bad_encodings",
        f"{SMTP}TestStrictASCII::test_bad_encoded_param",  # 553, where theirs says 500
    ],
    "SMTPUTF8 and 8BITMIME are always offered; theirs can be switched off": [
        *_names(f"{SMTP}TestStrictASCII", "test_ehlo", "test_mail_param", "test_data"),
    ],
    "a line of a message may have any length: what a relay before us has accepted must not bounce here": [
        *_names(_MORE, "test_data_line_too_long", "test_long_line_double_count", "test_long_line_leak"),
        *_names(_MORE, "test_too_long_line_delay_error", "test_too_long_lines_then_too_long_body"),
    ],
    "a command line of more than 2,048 bytes ends the session: it may be another protocol, such as TLS": [
        f"{_BASIC}::test_way_too_long_command",
    ],
    "a first line that is no header gets an empty line above it, as Postfix writes it": [
        f"{_MORE}::test_dots_escaped",
    ],
    "552 with another text, which the test compares itself": [f"{_MORE}::test_too_long_body_delay_error"],
    "a client that has closed its sending side still gets the answers to what it sent (RFC 5321 4.1.1.10)": [
        f"{SMTP}TestSleepingHandler::test_close_after_helo",
    ],
    "the number of commands by name cannot be set; 100 without mail and 20 errors are the limits": [
        *_names(f"{SMTP}TestLimits", "test_all_limit_15", "test_different_limits", "test_limit_bogus"),
        f"{SMTP}TestLimits::test_different_limits_custom_default",
    ],
    "STARTTLS that is not offered is an unimplemented command (502), not a temporary lack (454)": [
        f"{TLS}TestNoTLS::test_disabled_tls",
    ],
    "TLS cannot be made a condition for mail (RFC 3207 4 forbids it to a public server), only for AUTH": [
        *_names(f"{TLS}TestRequireTLS", "test_helo_fails", "test_help_fails", "test_ehlo", "test_mail_fails"),
        *_names(f"{TLS}TestRequireTLS", "test_rcpt_fails", "test_vrfy_fails", "test_data_fails"),
        *_names(f"{TLS}TestRequireTLS", "test_noop_okay", "test_quit_okay"),
    ],
    "TLS from the first byte (port 465) is not offered": ["test_smtps.py::TestSMTPS::test_smtps"],
}
