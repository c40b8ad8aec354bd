use super::*;
use crate::canon::code::Type;

fn word(code: &str, status: Option<u16>) -> Option<Code> {
    [Strong, Fair, Weak].into_iter().find_map(|strength| by_word(code, strength, status)).map(|(code, _)| code)
}

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
        ("APIKeyInvalid", Some(Code::InvalidCredentials)),
        ("TTSQuotaExceeded", Some(Code::QuotaExceeded)),
        ("concurrent_modification", Some(Code::ConcurrentModification)),
        ("E1234", None),
        ("", None),
    ] {
        assert_eq!(word(code, None), expected, "{code}");
    }
    assert_eq!(by_text("Your Trial period has expired").map(|(code, _)| code), Some(Code::QuotaExceeded));
    for status in 400..=599 {
        assert!(by_status(status).is_some(), "{status}");
    }
    assert_eq!(by_status(200), None);
    assert_eq!(by_close(4401), Some(Code::InvalidCredentials));
}

#[test]
fn a_word_inside_another_word_says_nothing() {
    for (code, expected) in [
        ("invoice_not_found", Some(Code::ResourceNotFound)),
        ("context_invalid", Some(Code::InvalidRequest)),
        ("script_blocked", None),
        ("explanation_limit", None),
        ("industrial_expired", None),
        ("determs", None),
        ("author_required", Some(Code::MissingParameter)),
        ("missing_author", Some(Code::MissingParameter)),
        ("missing_keyword", Some(Code::MissingParameter)),
        ("invalid_token_count", Some(Code::InvalidRequest)),
        ("quotation_mark", None),
    ] {
        assert_eq!(word(code, None), expected, "{code}");
    }
}

/// Every weak word with every status: what comes out is either of the same class as the status, or the status decides.
#[test]
fn a_weak_word_never_beats_a_status_that_says_otherwise() {
    let weak = WORDS.iter().filter(|(_, strength, _)| *strength == Weak);
    for (words, _, _) in weak {
        let code = words.iter().map(|word| word.trim_matches(['*', '=', '_'])).collect::<Vec<_>>().join("_");
        for status in (400..=431).chain([440, 451, 498, 499]).chain(500..=511).chain([520, 524, 529, 530, 599]) {
            let Some(found) = word(&code, Some(status)) else { continue };
            let by_status = by_status(status).expect("a meaning");
            assert_eq!(
                found.status() >= 500,
                by_status.status() >= 500 || status == 429 && found.status() == 503,
                "{code} on {status}: {found}"
            );
            if matches!(status, 401 | 405 | 408 | 413 | 499 | 504) {
                let kinds = [by_status.kind(), Type::PaymentRequired, Type::PermissionDenied];
                assert!(kinds.contains(&found.kind()), "{code} on {status}: {found}");
            }
        }
    }
}

#[test]
fn statuses_agree_contradict_or_leave_room() {
    for (code, status, expected) in [
        ("MISSING_BACKEND", 503, None),
        ("UPSTREAM_REQUIRED", 400, Some(Code::MissingParameter)),
        ("invalid_upstream", 502, Some(Code::UpstreamError)),
        ("language_service_unavailable", 503, Some(Code::Unavailable)),
        ("language_backend_down", 503, None),
        ("MODERATION_SERVICE_UNAVAILABLE", 503, Some(Code::Unavailable)),
        ("PAYMENT_GATEWAY_TIMEOUT", 504, Some(Code::UpstreamTimeout)),
        ("BILLING_SERVICE_DOWN", 503, None),
        ("AUTH_SERVICE_UNAVAILABLE", 503, Some(Code::Unavailable)),
        ("authentication_backend_error", 500, None),
        ("unexpected_field", 400, None),
        ("invalid_timeout", 400, Some(Code::InvalidRequest)),
        ("request_timeout", 408, None),
        ("internal_error", 429, None),
        ("server_error", 413, None),
        ("invalid_api_key", 401, Some(Code::InvalidCredentials)),
        ("invalid_api_key", 400, Some(Code::InvalidCredentials)),
        ("invalid_api_key", 503, None),
        ("invalid_request", 401, None),
        ("missing_scope", 403, None),
        ("required_field", 422, Some(Code::MissingParameter)),
        ("rate_limit_exceeded_error", 503, Some(Code::RateLimited)),
        ("Throttling", 400, Some(Code::RateLimited)),
        ("SlowDown", 503, Some(Code::RateLimited)),
        ("quota_exceeded", 401, Some(Code::QuotaExceeded)),
        ("quota_check_failed", 500, None),
        ("system_busy", 429, Some(Code::Overloaded)),
        ("resource_exhausted", 429, Some(Code::Overloaded)),
        ("not_ready", 404, Some(Code::NotReady)),
        ("user_not_found", 401, None),
        ("backend_not_found", 503, None),
        ("voice_not_found", 400, Some(Code::VoiceNotFound)),
        ("voice_not_found", 500, None),
        ("invalid_parameter", 422, Some(Code::InvalidParameter)),
        ("invalid_input", 422, Some(Code::InvalidRequest)),
        ("invalid_input", 415, None),
        ("unsupported_region", 451, None),
        ("unsupported_language", 405, None),
        ("language_required", 415, None),
        ("service_unavailable", 429, None),
        ("insufficient_credits", 400, Some(Code::InsufficientCredits)),
    ] {
        assert_eq!(word(code, Some(status)), expected, "{code} on {status}");
    }
}
