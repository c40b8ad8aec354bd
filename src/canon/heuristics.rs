//! The generic heuristics for errors that no profile knows: a recognisable word in the code, the status, the text.

use super::code::Code;

/// A word in a provider's code, compared in lower case with everything but letters and digits as `_`.
/// The first row whose words all occur wins, so what is more specific stands before what is less.
const WORDS: &[(&[&str], Code)] = &[
    (&["voice", "not_found"], Code::VoiceNotFound),
    (&["voice", "not_exist"], Code::VoiceNotFound),
    (&["unknown_voice"], Code::VoiceNotFound),
    (&["model", "not_found"], Code::ModelNotFound),
    (&["model", "not_exist"], Code::ModelNotFound),
    (&["unknown_model"], Code::ModelNotFound),
    (&["not_found"], Code::ResourceNotFound),
    (&["notfound"], Code::ResourceNotFound),
    (&["does_not_exist"], Code::ResourceNotFound),
    (&["no_such"], Code::ResourceNotFound),
    (&["poll", "rate_limit"], Code::PollRateLimited),
    (&["concurren", "limit"], Code::ConcurrencyLimited),
    (&["concurren", "exceeded"], Code::ConcurrencyLimited),
    (&["concurren", "reached"], Code::ConcurrencyLimited),
    (&["too_many_concurrent"], Code::ConcurrencyLimited),
    (&["concurrent", "modif"], Code::ConcurrentModification),
    (&["rate_limit"], Code::RateLimited),
    (&["ratelimit"], Code::RateLimited),
    (&["too_many_requests"], Code::RateLimited),
    (&["toomanyrequests"], Code::RateLimited),
    (&["throttl"], Code::RateLimited),
    (&["slow_down"], Code::RateLimited),
    (&["insufficient", "credit"], Code::InsufficientCredits),
    (&["insufficient", "balance"], Code::InsufficientCredits),
    (&["insufficient", "fund"], Code::InsufficientCredits),
    (&["out_of_credit"], Code::InsufficientCredits),
    (&["not_enough_credit"], Code::InsufficientCredits),
    (&["balance", "low"], Code::InsufficientCredits),
    (&["quota"], Code::QuotaExceeded),
    (&["trial", "expired"], Code::QuotaExceeded),
    (&["trial", "over"], Code::QuotaExceeded),
    (&["usage_limit"], Code::QuotaExceeded),
    (&["billing"], Code::InsufficientCredits),
    (&["payment"], Code::InsufficientCredits),
    (&["limit_reached"], Code::PlanLimitReached),
    (&["plan", "limit"], Code::PlanLimitReached),
    (&["upgrade", "required"], Code::PlanUpgradeRequired),
    (&["plan", "required"], Code::PlanUpgradeRequired),
    (&["subscription"], Code::PlanUpgradeRequired),
    (&["upgrade_plan"], Code::PlanUpgradeRequired),
    (&["not_enabled"], Code::FeatureNotEnabled),
    (&["feature", "not"], Code::FeatureNotEnabled),
    (&["feature", "disabled"], Code::FeatureNotEnabled),
    (&["ip_not_allowed"], Code::IpNotAllowed),
    (&["ip", "blocked"], Code::IpNotAllowed),
    (&["terms"], Code::TermsNotAccepted),
    (&["abuse"], Code::AbuseSuspected),
    (&["unusual_activity"], Code::AbuseSuspected),
    (&["suspicious"], Code::AbuseSuspected),
    (&["moderat"], Code::ContentRejected),
    (&["content", "policy"], Code::ContentRejected),
    (&["content", "filter"], Code::ContentRejected),
    (&["safety"], Code::ContentRejected),
    (&["copyright"], Code::ContentRejected),
    (&["expired", "token"], Code::ExpiredCredentials),
    (&["expired", "key"], Code::ExpiredCredentials),
    (&["expired", "credential"], Code::ExpiredCredentials),
    (&["session", "expired"], Code::ExpiredCredentials),
    (&["auth", "expired"], Code::ExpiredCredentials),
    (&["missing", "key"], Code::MissingCredentials),
    (&["missing", "token"], Code::MissingCredentials),
    (&["missing", "auth"], Code::MissingCredentials),
    (&["missing", "credential"], Code::MissingCredentials),
    (&["auth", "required"], Code::MissingCredentials),
    (&["login_required"], Code::MissingCredentials),
    (&["account", "disabled"], Code::AccountDisabled),
    (&["account", "suspended"], Code::AccountDisabled),
    (&["account", "inactive"], Code::AccountDisabled),
    (&["permission"], Code::PermissionDenied),
    (&["forbidden"], Code::PermissionDenied),
    (&["access_denied"], Code::PermissionDenied),
    (&["accessdenied"], Code::PermissionDenied),
    (&["not_allowed", "method"], Code::MethodNotAllowed),
    (&["unauthorized"], Code::InvalidCredentials),
    (&["unauthorised"], Code::InvalidCredentials),
    (&["unauthenticated"], Code::InvalidCredentials),
    (&["authenticat"], Code::InvalidCredentials),
    (&["invalid", "api_key"], Code::InvalidCredentials),
    (&["invalid", "apikey"], Code::InvalidCredentials),
    (&["invalid", "token"], Code::InvalidCredentials),
    (&["invalid", "credential"], Code::InvalidCredentials),
    (&["auth_error"], Code::InvalidCredentials),
    (&["invalid_auth"], Code::InvalidCredentials),
    (&["already_exist"], Code::AlreadyExists),
    (&["duplicate"], Code::AlreadyExists),
    (&["already_running"], Code::AlreadyRunning),
    (&["in_progress"], Code::AlreadyRunning),
    (&["conflict"], Code::Conflict),
    (&["not_ready"], Code::NotReady),
    (&["pending"], Code::NotReady),
    (&["too_early"], Code::NotReady),
    (&["warming"], Code::WarmingUp),
    (&["cold_start"], Code::WarmingUp),
    (&["maintenance"], Code::Maintenance),
    (&["overload"], Code::Overloaded),
    (&["capacity"], Code::Overloaded),
    (&["busy"], Code::Overloaded),
    (&["queue_full"], Code::Overloaded),
    (&["resource_exhausted"], Code::Overloaded),
    (&["overflow"], Code::Overloaded),
    (&["interrupted"], Code::Interrupted),
    (&["unavailable"], Code::Unavailable),
    (&["idle", "timeout"], Code::SessionTimeout),
    (&["session", "timeout"], Code::SessionTimeout),
    (&["inactiv"], Code::SessionTimeout),
    (&["time_limit"], Code::SessionTimeout),
    (&["max_duration"], Code::SessionTimeout),
    (&["timeout"], Code::UpstreamTimeout),
    (&["timed_out"], Code::UpstreamTimeout),
    (&["deadline"], Code::UpstreamTimeout),
    (&["too_large"], Code::PayloadTooLarge),
    (&["file_size"], Code::PayloadTooLarge),
    (&["size_exceeded"], Code::PayloadTooLarge),
    (&["malformed"], Code::MalformedBody),
    (&["invalid_json"], Code::MalformedBody),
    (&["parse_error"], Code::MalformedBody),
    (&["content_type"], Code::UnsupportedContentType),
    (&["media_type"], Code::UnsupportedContentType),
    (&["method_not_allowed"], Code::MethodNotAllowed),
    (&["text", "empty"], Code::TextEmpty),
    (&["empty", "text"], Code::TextEmpty),
    (&["text", "too_long"], Code::TextTooLong),
    (&["character_limit"], Code::TextTooLong),
    (&["text", "too_short"], Code::TextTooShort),
    (&["text", "invalid"], Code::TextInvalid),
    (&["audio", "too_short"], Code::AudioTooShort),
    (&["audio", "too_long"], Code::AudioTooLong),
    (&["audio", "missing"], Code::AudioMissing),
    (&["missing", "audio"], Code::AudioMissing),
    (&["no_audio"], Code::AudioMissing),
    (&["output_format"], Code::UnsupportedOutputFormat),
    (&["audio_format"], Code::UnsupportedAudioFormat),
    (&["unsupported_format"], Code::UnsupportedAudioFormat),
    (&["audio", "invalid"], Code::AudioInvalid),
    (&["corrupt"], Code::AudioInvalid),
    (&["language"], Code::UnsupportedLanguage),
    (&["unsupported", "model"], Code::UnsupportedModel),
    (&["model", "not_supported"], Code::UnsupportedModel),
    (&["invalid", "model"], Code::UnsupportedModel),
    (&["voice", "model"], Code::VoiceModelMismatch),
    (&["config", "missing"], Code::SessionConfigMissing),
    (&["config", "invalid"], Code::SessionConfigInvalid),
    (&["misconfigur"], Code::ProviderMisconfigured),
    (&["transcription", "fail"], Code::TranscriptionFailed),
    (&["transcri", "error"], Code::TranscriptionFailed),
    (&["scoring", "fail"], Code::ScoringFailed),
    (&["generation", "fail"], Code::GenerationFailed),
    (&["clone", "fail"], Code::VoiceCreationFailed),
    (&["missing"], Code::MissingParameter),
    (&["required"], Code::MissingParameter),
    (&["upstream"], Code::UpstreamError),
    (&["bad_gateway"], Code::UpstreamError),
    (&["internal"], Code::InternalError),
    (&["server_error"], Code::InternalError),
    (&["unexpected"], Code::InternalError),
    (&["validation"], Code::InvalidParameter),
    (&["invalid_param"], Code::InvalidParameter),
    (&["invalid_argument"], Code::InvalidParameter),
    (&["invalid_value"], Code::InvalidParameter),
    (&["out_of_range"], Code::InvalidParameter),
    (&["bad_request"], Code::InvalidRequest),
    (&["invalid"], Code::InvalidRequest),
    (&["unsupported"], Code::InvalidRequest),
];

/// Phrases in a message, where neither code nor status says anything. Compared like the words.
const PHRASES: &[(&[&str], Code)] = &[
    (&["trial", "expired"], Code::QuotaExceeded),
    (&["concurren", "limit"], Code::ConcurrencyLimited),
    (&["concurren", "exceed"], Code::ConcurrencyLimited),
    (&["rate_limit"], Code::RateLimited),
    (&["too_many_requests"], Code::RateLimited),
    (&["quota"], Code::QuotaExceeded),
    (&["insufficient", "credit"], Code::InsufficientCredits),
    (&["out_of_credit"], Code::InsufficientCredits),
    (&["enough_credit"], Code::InsufficientCredits),
    (&["unauthorized"], Code::InvalidCredentials),
    (&["api_key"], Code::InvalidCredentials),
    (&["authenticat"], Code::InvalidCredentials),
    (&["permission"], Code::PermissionDenied),
    (&["forbidden"], Code::PermissionDenied),
    (&["voice", "not_found"], Code::VoiceNotFound),
    (&["model", "not_found"], Code::ModelNotFound),
    (&["not_found"], Code::ResourceNotFound),
    (&["does_not_exist"], Code::ResourceNotFound),
    (&["not_ready"], Code::NotReady),
    (&["already_exists"], Code::AlreadyExists),
    (&["timeout"], Code::UpstreamTimeout),
    (&["timed_out"], Code::UpstreamTimeout),
    (&["maintenance"], Code::Maintenance),
    (&["overloaded"], Code::Overloaded),
    (&["capacity"], Code::Overloaded),
    (&["temporarily_unavailable"], Code::Unavailable),
    (&["service_unavailable"], Code::Unavailable),
    (&["too_large"], Code::PayloadTooLarge),
    (&["bad_gateway"], Code::UpstreamError),
    (&["internal_server_error"], Code::InternalError),
    (&["internal_error"], Code::InternalError),
];

/// The meaning of a word in a code, with the word.
#[must_use]
pub(crate) fn by_word(code: &str) -> Option<(Code, &'static [&'static str])> {
    find(WORDS, code)
}

/// The meaning of a phrase in a text, with the phrase.
#[must_use]
pub(crate) fn by_text(text: &str) -> Option<(Code, &'static [&'static str])> {
    find(PHRASES, text)
}

fn find(rows: &'static [(&'static [&'static str], Code)], text: &str) -> Option<(Code, &'static [&'static str])> {
    let folded = fold(text);
    rows.iter().find(|(words, _)| words.iter().all(|word| folded.contains(word))).map(|(words, code)| (*code, *words))
}

/// Lower case, `camelCase` split, everything but letters and digits as one `_`.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len() + 8);
    let mut after_lower = false;
    for char in text.chars().take(512) {
        if char.is_alphanumeric() {
            if char.is_uppercase() && after_lower {
                folded.push('_');
            }
            after_lower = char.is_lowercase();
            folded.extend(char.to_lowercase());
        } else {
            after_lower = false;
            if !folded.ends_with('_') {
                folded.push('_');
            }
        }
    }
    folded
}

/// The meaning of a status alone; none below 400.
#[must_use]
pub(crate) fn by_status(status: u16) -> Option<Code> {
    Some(match status {
        401 | 407 => Code::InvalidCredentials,
        402 => Code::InsufficientCredits,
        403 | 451 => Code::PermissionDenied,
        404 | 410 => Code::ResourceNotFound,
        405 => Code::MethodNotAllowed,
        408 => Code::RequestTimeout,
        409 | 412 | 423 | 428 => Code::Conflict,
        413 => Code::PayloadTooLarge,
        415 => Code::UnsupportedContentType,
        422 => Code::InvalidParameter,
        425 => Code::NotReady,
        429 => Code::RateLimited,
        499 => Code::ClientCancelled,
        // RFC 9110 has no 509 and 529; hosting panels and Anthropic, Shopify and others use them so.
        509 => Code::QuotaExceeded,
        503 => Code::Unavailable,
        529 => Code::Overloaded,
        502 | 520 | 527 | 530 => Code::UpstreamError,
        // Cloudflare 521 to 526: its own view of the origin.
        521 | 523 => Code::UpstreamUnreachable,
        504 | 522 | 524 | 598 | 599 => Code::UpstreamTimeout,
        525 | 526 => Code::UpstreamTlsError,
        400..=498 => Code::InvalidRequest,
        500..=599 => Code::InternalError,
        _ => return None,
    })
}

/// The meaning of a WebSocket close code alone (RFC 6455 7.4.1 and the IANA registry); none for a normal end.
#[must_use]
pub(crate) fn by_close(close: u16) -> Option<Code> {
    Some(match close {
        1000 | 1001 | 1005 => return None,
        1002 | 1003 | 1008 => Code::InvalidRequest,
        1006 => Code::UpstreamDisconnected,
        1007 => Code::MalformedBody,
        1009 => Code::PayloadTooLarge,
        1010 => Code::InvalidRequest,
        1011 => Code::InternalError,
        1012 => Code::Interrupted,
        1013 => Code::Overloaded,
        1014 => Code::UpstreamError,
        1015 => Code::UpstreamTlsError,
        3000 => Code::InvalidCredentials,
        3003 => Code::PermissionDenied,
        3008 => Code::SessionTimeout,
        // Many servers put an HTTP status behind a leading 4.
        4400..=4599 => return by_status(close - 4000),
        _ => Code::UnknownError,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_statuses_and_texts() {
        for (code, expected) in [
            ("VOICE_NOT_FOUND", Some(Code::VoiceNotFound)),
            ("song_not_found", Some(Code::ResourceNotFound)),
            ("RateLimitExceeded", Some(Code::RateLimited)),
            ("too-many-concurrent-sessions", Some(Code::ConcurrencyLimited)),
            ("TooManyRequests", Some(Code::RateLimited)),
            ("INSUFFICIENT_QUOTA", Some(Code::QuotaExceeded)),
            ("invalidApiKey", Some(Code::InvalidCredentials)),
            ("concurrent_modification", Some(Code::ConcurrentModification)),
            ("E1234", None),
            ("", None),
        ] {
            assert_eq!(by_word(code).map(|(code, _)| code), expected, "{code}");
        }
        assert_eq!(by_text("Your Trial period has expired").map(|(code, _)| code), Some(Code::QuotaExceeded));
        for status in 400..=599 {
            assert!(by_status(status).is_some(), "{status}");
        }
        assert_eq!(by_status(200), None);
        assert_eq!(by_close(4401), Some(Code::InvalidCredentials));
    }
}
