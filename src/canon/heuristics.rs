//! Heuristics for errors that no profile knows: a recognisable word in the code, the status, the text.

use super::code::{Code, Type};

/// How much a word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strength {
    /// So specific that it says more than any text beside it. It counts unless the status contradicts it.
    Strong,
    /// It counts unless the status contradicts it, but a rule about the text may know better.
    Fair,
    /// It occurs in the names of all sorts of things, so that it counts only where the status means the same.
    Weak,
}

use Strength::{Fair, Strong, Weak};

/// Words that stand together in a code, how much they say, and what they mean.
type Word = (&'static [&'static str], Strength, Code);

/// Words in a provider's code. The code is folded first: lower case, everything but letters and digits as `_`, one at either
/// end. A word has to begin where a part of the code begins: `*word` may stand anywhere, `=word` is the code as a whole. The
/// first row of a strength whose words all occur wins, so that what is more specific stands before what is less.
const WORDS: &[Word] = &[
    (&["voice", "not_found"], Strong, Code::VoiceNotFound),
    (&["voice", "not_exist"], Strong, Code::VoiceNotFound),
    (&["unknown_voice"], Strong, Code::VoiceNotFound),
    (&["model", "not_found"], Strong, Code::ModelNotFound),
    (&["model", "not_exist"], Strong, Code::ModelNotFound),
    (&["unknown_model"], Strong, Code::ModelNotFound),
    (&["poll", "rate_limit"], Strong, Code::PollRateLimited),
    (&["concurrent", "modif"], Strong, Code::ConcurrentModification),
    (&["concurren", "limit"], Strong, Code::ConcurrencyLimited),
    (&["concurren", "exceed"], Strong, Code::ConcurrencyLimited),
    (&["concurren", "reached"], Strong, Code::ConcurrencyLimited),
    (&["concurren", "too_many"], Strong, Code::ConcurrencyLimited),
    (&["too_many_sessions"], Strong, Code::ConcurrencyLimited),
    (&["too_many_streams"], Strong, Code::ConcurrencyLimited),
    (&["too_many_connections"], Strong, Code::ConcurrencyLimited),
    (&["too_many_simultaneous"], Strong, Code::ConcurrencyLimited),
    (&["connection_limit"], Strong, Code::ConcurrencyLimited),
    (&["stream_limit"], Strong, Code::ConcurrencyLimited),
    (&["insufficient", "credit"], Strong, Code::InsufficientCredits),
    (&["insufficient", "balance"], Strong, Code::InsufficientCredits),
    (&["insufficient", "fund"], Strong, Code::InsufficientCredits),
    (&["out_of_credit"], Strong, Code::InsufficientCredits),
    (&["no_credit"], Strong, Code::InsufficientCredits),
    (&["not_enough_credit"], Strong, Code::InsufficientCredits),
    (&["credit", "exhaust"], Strong, Code::InsufficientCredits),
    (&["balance", "exhaust"], Strong, Code::InsufficientCredits),
    (&["balance", "low"], Strong, Code::InsufficientCredits),
    (&["low_balance"], Strong, Code::InsufficientCredits),
    (&["payment_required"], Strong, Code::InsufficientCredits),
    (&["quota", "exceed"], Strong, Code::QuotaExceeded),
    (&["*quotaexceeded"], Strong, Code::QuotaExceeded),
    (&["quota", "exhaust"], Strong, Code::QuotaExceeded),
    (&["quota", "reached"], Strong, Code::QuotaExceeded),
    (&["insufficient", "quota"], Strong, Code::QuotaExceeded),
    (&["over_quota"], Strong, Code::QuotaExceeded),
    (&["out_of_quota"], Strong, Code::QuotaExceeded),
    (&["quota_limit"], Strong, Code::QuotaExceeded),
    (&["trial", "expired"], Strong, Code::QuotaExceeded),
    (&["trial", "ended"], Strong, Code::QuotaExceeded),
    (&["trial_over"], Strong, Code::QuotaExceeded),
    (&["usage_limit"], Strong, Code::QuotaExceeded),
    (&["spending_limit"], Strong, Code::QuotaExceeded),
    (&["daily_limit"], Strong, Code::QuotaExceeded),
    (&["monthly_limit"], Strong, Code::QuotaExceeded),
    (&["upgrade_required"], Strong, Code::PlanUpgradeRequired),
    (&["upgrade_plan"], Strong, Code::PlanUpgradeRequired),
    (&["plan_upgrade"], Strong, Code::PlanUpgradeRequired),
    (&["plan", "required"], Strong, Code::PlanUpgradeRequired),
    (&["subscription_required"], Strong, Code::PlanUpgradeRequired),
    (&["plan", "limit"], Strong, Code::PlanLimitReached),
    (&["not_enabled"], Strong, Code::FeatureNotEnabled),
    (&["feature_not"], Strong, Code::FeatureNotEnabled),
    (&["feature", "disabled"], Strong, Code::FeatureNotEnabled),
    (&["ip_not_allowed"], Strong, Code::IpNotAllowed),
    (&["ip_blocked"], Strong, Code::IpNotAllowed),
    (&["ip_address_not_allowed"], Strong, Code::IpNotAllowed),
    (&["ip_address_blocked"], Strong, Code::IpNotAllowed),
    (&["terms", "accept"], Strong, Code::TermsNotAccepted),
    (&["abuse"], Strong, Code::AbuseSuspected),
    (&["unusual_activity"], Strong, Code::AbuseSuspected),
    (&["suspicious"], Strong, Code::AbuseSuspected),
    (&["moderat"], Strong, Code::ContentRejected),
    (&["content", "policy"], Strong, Code::ContentRejected),
    (&["content", "filter"], Strong, Code::ContentRejected),
    (&["prohibited_content"], Strong, Code::ContentRejected),
    (&["safety"], Strong, Code::ContentRejected),
    (&["copyright"], Strong, Code::ContentRejected),
    (&["expired", "token_"], Strong, Code::ExpiredCredentials),
    (&["expired", "jwt"], Strong, Code::ExpiredCredentials),
    (&["expired", "key_"], Strong, Code::ExpiredCredentials),
    (&["expired", "credential"], Strong, Code::ExpiredCredentials),
    (&["session_expired"], Strong, Code::ExpiredCredentials),
    (&["auth", "expired"], Strong, Code::ExpiredCredentials),
    (&["account", "disabled"], Strong, Code::AccountDisabled),
    (&["account", "suspended"], Strong, Code::AccountDisabled),
    (&["account", "inactive"], Strong, Code::AccountDisabled),
    (&["account", "deactivated"], Strong, Code::AccountDisabled),
    (&["text", "empty"], Strong, Code::TextEmpty),
    (&["text", "too_long"], Strong, Code::TextTooLong),
    (&["character_limit"], Strong, Code::TextTooLong),
    (&["text", "too_short"], Strong, Code::TextTooShort),
    (&["audio", "too_short"], Strong, Code::AudioTooShort),
    (&["audio", "too_long"], Strong, Code::AudioTooLong),
    (&["audio", "missing"], Strong, Code::AudioMissing),
    (&["no_audio"], Strong, Code::AudioMissing),
    (&["transcription", "fail"], Strong, Code::TranscriptionFailed),
    (&["scoring", "fail"], Strong, Code::ScoringFailed),
    (&["generation", "fail"], Strong, Code::GenerationFailed),
    (&["clone", "fail"], Strong, Code::VoiceCreationFailed),
    (&["warming"], Strong, Code::WarmingUp),
    (&["cold_start"], Strong, Code::WarmingUp),
    (&["maintenance"], Strong, Code::Maintenance),
    (&["misconfigur"], Strong, Code::ProviderMisconfigured),
    (&["rate_limit", "exceed"], Fair, Code::RateLimited),
    (&["rate_limit", "reached"], Fair, Code::RateLimited),
    (&["rate_limited"], Fair, Code::RateLimited),
    (&["rate_exceeded"], Fair, Code::RateLimited),
    (&["*ratelimitexceeded"], Fair, Code::RateLimited),
    (&["too_many_requests"], Fair, Code::RateLimited),
    (&["*toomanyrequests"], Fair, Code::RateLimited),
    (&["*throttl"], Fair, Code::RateLimited),
    (&["slow_down"], Fair, Code::RateLimited),
    (&["slowdown"], Fair, Code::RateLimited),
    (&["missing", "api_key"], Fair, Code::MissingCredentials),
    (&["missing", "apikey"], Fair, Code::MissingCredentials),
    (&["missing_key_"], Fair, Code::MissingCredentials),
    (&["missing", "token_"], Fair, Code::MissingCredentials),
    (&["missing_auth_"], Fair, Code::MissingCredentials),
    (&["missing", "authenticat"], Fair, Code::MissingCredentials),
    (&["missing", "authoriz"], Fair, Code::MissingCredentials),
    (&["missing", "credential"], Fair, Code::MissingCredentials),
    (&["missing", "subscription_key"], Fair, Code::MissingCredentials),
    (&["api_key", "required"], Fair, Code::MissingCredentials),
    (&["auth_required"], Fair, Code::MissingCredentials),
    (&["authenticat", "required"], Fair, Code::MissingCredentials),
    (&["authoriz", "required"], Fair, Code::MissingCredentials),
    (&["login_required"], Fair, Code::MissingCredentials),
    (&["invalid", "api_key"], Fair, Code::InvalidCredentials),
    (&["incorrect", "api_key"], Fair, Code::InvalidCredentials),
    (&["*invalidapikey"], Fair, Code::InvalidCredentials),
    (&["invalid", "apikey"], Fair, Code::InvalidCredentials),
    (&["invalid", "subscription_key"], Fair, Code::InvalidCredentials),
    (&["=invalid_token"], Fair, Code::InvalidCredentials),
    (&["invalid", "access_token"], Fair, Code::InvalidCredentials),
    (&["invalid", "client_token"], Fair, Code::InvalidCredentials),
    (&["invalid", "auth_"], Fair, Code::InvalidCredentials),
    (&["invalid", "authenticat"], Fair, Code::InvalidCredentials),
    (&["invalid", "authoriz"], Fair, Code::InvalidCredentials),
    (&["invalid", "credential"], Fair, Code::InvalidCredentials),
    (&["invalid", "signature"], Fair, Code::InvalidCredentials),
    (&["signature", "not_match"], Fair, Code::InvalidCredentials),
    (&["*unauthori"], Fair, Code::InvalidCredentials),
    (&["unauthenticated"], Fair, Code::InvalidCredentials),
    (&["permission_denied"], Fair, Code::PermissionDenied),
    (&["missing", "permission"], Fair, Code::PermissionDenied),
    (&["insufficient", "permission"], Fair, Code::PermissionDenied),
    (&["access_denied"], Fair, Code::PermissionDenied),
    (&["*accessdenied"], Fair, Code::PermissionDenied),
    (&["method_not_allowed"], Fair, Code::MethodNotAllowed),
    (&["already_exist"], Fair, Code::AlreadyExists),
    (&["already_running"], Fair, Code::AlreadyRunning),
    (&["not_ready"], Fair, Code::NotReady),
    (&["too_early"], Fair, Code::NotReady),
    (&["overload"], Fair, Code::Overloaded),
    (&["queue_full"], Fair, Code::Overloaded),
    (&["idle", "timeout"], Fair, Code::SessionTimeout),
    (&["session", "timeout"], Fair, Code::SessionTimeout),
    (&["inactiv"], Fair, Code::SessionTimeout),
    (&["max_duration"], Fair, Code::SessionTimeout),
    (&["deadline_exceeded"], Fair, Code::UpstreamTimeout),
    (&["too_large"], Fair, Code::PayloadTooLarge),
    (&["file_size"], Fair, Code::PayloadTooLarge),
    (&["size_exceeded"], Fair, Code::PayloadTooLarge),
    (&["malformed"], Fair, Code::MalformedBody),
    (&["invalid_json"], Fair, Code::MalformedBody),
    (&["parse_error"], Fair, Code::MalformedBody),
    (&["content_type"], Fair, Code::UnsupportedContentType),
    (&["media_type"], Fair, Code::UnsupportedContentType),
    (&["output_format"], Fair, Code::UnsupportedOutputFormat),
    (&["audio_format"], Fair, Code::UnsupportedAudioFormat),
    (&["unsupported_format"], Fair, Code::UnsupportedAudioFormat),
    (&["missing", "audio"], Fair, Code::AudioMissing),
    (&["audio", "invalid"], Fair, Code::AudioInvalid),
    (&["corrupt"], Fair, Code::AudioInvalid),
    (&["unsupported", "language"], Fair, Code::UnsupportedLanguage),
    (&["language", "not_supported"], Fair, Code::UnsupportedLanguage),
    (&["unsupported", "model"], Fair, Code::UnsupportedModel),
    (&["model", "not_supported"], Fair, Code::UnsupportedModel),
    (&["text", "invalid"], Fair, Code::TextInvalid),
    (&["voice", "model", "mismatch"], Fair, Code::VoiceModelMismatch),
    (&["voice", "model", "compatible"], Fair, Code::VoiceModelMismatch),
    (&["config", "missing"], Fair, Code::SessionConfigMissing),
    (&["config", "invalid"], Fair, Code::SessionConfigInvalid),
    (&["no_such"], Weak, Code::ResourceNotFound),
    (&["*not_found"], Weak, Code::ResourceNotFound),
    (&["*notfound"], Weak, Code::ResourceNotFound),
    (&["does_not_exist"], Weak, Code::ResourceNotFound),
    (&["*rate_limit"], Weak, Code::RateLimited),
    (&["*ratelimit"], Weak, Code::RateLimited),
    (&["quota_"], Weak, Code::QuotaExceeded),
    (&["billing"], Weak, Code::InsufficientCredits),
    (&["payment"], Weak, Code::InsufficientCredits),
    (&["limit_reached"], Weak, Code::PlanLimitReached),
    (&["subscription"], Weak, Code::PlanUpgradeRequired),
    (&["terms"], Weak, Code::TermsNotAccepted),
    (&["permission"], Weak, Code::PermissionDenied),
    (&["forbidden"], Weak, Code::PermissionDenied),
    (&["authenticat"], Weak, Code::InvalidCredentials),
    (&["auth_error"], Weak, Code::InvalidCredentials),
    (&["duplicate"], Weak, Code::AlreadyExists),
    (&["in_progress"], Weak, Code::AlreadyRunning),
    (&["conflict"], Weak, Code::Conflict),
    (&["pending"], Weak, Code::NotReady),
    (&["capacity"], Weak, Code::Overloaded),
    (&["busy"], Weak, Code::Overloaded),
    (&["resource_exhausted"], Weak, Code::Overloaded),
    (&["overflow"], Weak, Code::Overloaded),
    (&["interrupted"], Weak, Code::Interrupted),
    (&["unavailable"], Weak, Code::Unavailable),
    (&["time_limit"], Weak, Code::SessionTimeout),
    (&["timeout"], Weak, Code::UpstreamTimeout),
    (&["timed_out"], Weak, Code::UpstreamTimeout),
    (&["deadline"], Weak, Code::UpstreamTimeout),
    (&["transcri", "error"], Weak, Code::TranscriptionFailed),
    (&["upstream"], Weak, Code::UpstreamError),
    (&["bad_gateway"], Weak, Code::UpstreamError),
    (&["internal"], Weak, Code::InternalError),
    (&["server_error"], Weak, Code::InternalError),
    (&["unexpected"], Weak, Code::InternalError),
    (&["missing"], Weak, Code::MissingParameter),
    (&["required"], Weak, Code::MissingParameter),
    (&["empty"], Weak, Code::MissingParameter),
    (&["language"], Weak, Code::UnsupportedLanguage),
    (&["invalid", "model"], Weak, Code::UnsupportedModel),
    (&["validation"], Weak, Code::InvalidParameter),
    (&["invalid_param"], Weak, Code::InvalidParameter),
    (&["invalid_argument"], Weak, Code::InvalidParameter),
    (&["invalid_value"], Weak, Code::InvalidParameter),
    (&["out_of_range"], Weak, Code::InvalidParameter),
    (&["bad_request"], Weak, Code::InvalidRequest),
    (&["invalid"], Weak, Code::InvalidRequest),
    (&["unsupported"], Weak, Code::InvalidRequest),
];

/// Phrases in a text for people or in a close reason, where neither code nor status says anything. Folded like the words.
const PHRASES: &[(&[&str], Code)] = &[
    (&["trial", "expired"], Code::QuotaExceeded),
    (&["trial", "ended"], Code::QuotaExceeded),
    (&["concurren", "limit"], Code::ConcurrencyLimited),
    (&["concurren", "exceed"], Code::ConcurrencyLimited),
    (&["concurren", "reached"], Code::ConcurrencyLimited),
    (&["too_many_concurrent"], Code::ConcurrencyLimited),
    (&["too_many_simultaneous"], Code::ConcurrencyLimited),
    (&["too_many_sessions"], Code::ConcurrencyLimited),
    (&["too_many_streams"], Code::ConcurrencyLimited),
    (&["too_many_connections"], Code::ConcurrencyLimited),
    (&["connection_limit"], Code::ConcurrencyLimited),
    (&["websocket_limit"], Code::ConcurrencyLimited),
    (&["rate_limit"], Code::RateLimited),
    (&["request_limit"], Code::RateLimited),
    (&["too_many_requests"], Code::RateLimited),
    (&["throttl"], Code::RateLimited),
    (&["slow_down"], Code::RateLimited),
    (&["sending", "too_fast"], Code::RateLimited),
    (&["insufficient", "credit"], Code::InsufficientCredits),
    (&["insufficient", "balance"], Code::InsufficientCredits),
    (&["insufficient", "fund"], Code::InsufficientCredits),
    (&["out_of_credit"], Code::InsufficientCredits),
    (&["enough_credit"], Code::InsufficientCredits),
    (&["enough_balance"], Code::InsufficientCredits),
    (&["no_credit"], Code::InsufficientCredits),
    (&["balance", "exhaust"], Code::InsufficientCredits),
    (&["balance", "low"], Code::InsufficientCredits),
    (&["payment", "required"], Code::InsufficientCredits),
    (&["quota"], Code::QuotaExceeded),
    (&["usage_limit"], Code::QuotaExceeded),
    (&["account", "disabled"], Code::AccountDisabled),
    (&["account", "suspended"], Code::AccountDisabled),
    (&["account", "deactivated"], Code::AccountDisabled),
    (&["token", "expired"], Code::ExpiredCredentials),
    (&["jwt", "expired"], Code::ExpiredCredentials),
    (&["key_", "expired"], Code::ExpiredCredentials),
    (&["credentials", "expired"], Code::ExpiredCredentials),
    (&["missing", "api_key"], Code::MissingCredentials),
    (&["no_api_key"], Code::MissingCredentials),
    (&["api_key", "required"], Code::MissingCredentials),
    (&["missing", "credential"], Code::MissingCredentials),
    (&["missing", "authoriz"], Code::MissingCredentials),
    (&["authenticat", "required"], Code::MissingCredentials),
    (&["unauthori"], Code::InvalidCredentials),
    (&["not_authori"], Code::InvalidCredentials),
    (&["unauthenticated"], Code::InvalidCredentials),
    (&["api_key"], Code::InvalidCredentials),
    (&["invalid", "token_"], Code::InvalidCredentials),
    (&["invalid", "credential"], Code::InvalidCredentials),
    (&["authenticat"], Code::InvalidCredentials),
    (&["permission"], Code::PermissionDenied),
    (&["forbidden"], Code::PermissionDenied),
    (&["access_denied"], Code::PermissionDenied),
    (&["content_policy"], Code::ContentRejected),
    (&["moderation"], Code::ContentRejected),
    (&["voice", "not_found"], Code::VoiceNotFound),
    (&["voice", "not_exist"], Code::VoiceNotFound),
    (&["model", "not_found"], Code::ModelNotFound),
    (&["model", "not_exist"], Code::ModelNotFound),
    (&["not_found"], Code::ResourceNotFound),
    (&["does_not_exist"], Code::ResourceNotFound),
    (&["not_ready"], Code::NotReady),
    (&["already_exists"], Code::AlreadyExists),
    (&["idle", "timeout"], Code::SessionTimeout),
    (&["idle", "too_long"], Code::SessionTimeout),
    (&["session", "timeout"], Code::SessionTimeout),
    (&["session", "timed_out"], Code::SessionTimeout),
    (&["inactiv"], Code::SessionTimeout),
    (&["maximum", "duration"], Code::SessionTimeout),
    (&["max", "duration"], Code::SessionTimeout),
    (&["maximum", "session"], Code::SessionTimeout),
    (&["session", "expired"], Code::SessionTimeout),
    (&["did_not_receive_audio"], Code::SessionTimeout),
    (&["no_audio", "received"], Code::SessionTimeout),
    (&["timeout"], Code::UpstreamTimeout),
    (&["timed_out"], Code::UpstreamTimeout),
    (&["maintenance"], Code::Maintenance),
    (&["overloaded"], Code::Overloaded),
    (&["capacity"], Code::Overloaded),
    (&["server", "busy"], Code::Overloaded),
    (&["service", "busy"], Code::Overloaded),
    (&["shutting_down"], Code::Interrupted),
    (&["restart"], Code::Interrupted),
    (&["unavailable"], Code::Unavailable),
    (&["try_again_later"], Code::Unavailable),
    (&["too_large"], Code::PayloadTooLarge),
    (&["too_big"], Code::PayloadTooLarge),
    (&["language", "not_supported"], Code::UnsupportedLanguage),
    (&["unsupported_language"], Code::UnsupportedLanguage),
    (&["unsupported", "encoding"], Code::UnsupportedAudioFormat),
    (&["unsupported", "audio"], Code::UnsupportedAudioFormat),
    (&["decode", "audio"], Code::AudioInvalid),
    (&["invalid_json"], Code::MalformedBody),
    (&["malformed"], Code::MalformedBody),
    (&["parse", "json"], Code::MalformedBody),
    (&["missing_required"], Code::MissingParameter),
    (&["missing", "parameter"], Code::MissingParameter),
    (&["invalid_param"], Code::InvalidParameter),
    (&["invalid_request"], Code::InvalidRequest),
    (&["invalid_message"], Code::InvalidRequest),
    (&["bad_request"], Code::InvalidRequest),
    (&["bad_gateway"], Code::UpstreamError),
    (&["internal_server_error"], Code::InternalError),
    (&["internal_error"], Code::InternalError),
    (&["server_error"], Code::InternalError),
    (&["something_went_wrong"], Code::InternalError),
    (&["unexpected_error"], Code::InternalError),
];

/// The meaning of a word of this strength in a code, with the word; none where the status says otherwise.
#[must_use]
pub(crate) fn by_word(code: &str, strength: Strength, status: Option<u16>) -> Option<(Code, &'static [&'static str])> {
    let folded = fold(code);
    let counts = |code: Code| match strength {
        Strong | Fair => !contradicts(code, status),
        Weak => agrees(code, status),
    };
    let row = WORDS.iter().find(|(words, of, code)| *of == strength && has_all(&folded, words) && counts(*code));
    row.map(|(words, _, code)| (*code, *words))
}

/// The meaning of a phrase in a text, with the phrase.
#[must_use]
pub(crate) fn by_text(text: &str) -> Option<(Code, &'static [&'static str])> {
    let folded = fold(text);
    PHRASES.iter().find(|(words, _)| has_all(&folded, words)).map(|(words, code)| (*code, *words))
}

/// Whether a status makes a meaning impossible: a provider that is down has not judged the request, and one that refused the
/// request is not down.
pub(crate) fn contradicts(code: Code, status: Option<u16>) -> bool {
    let Some(status @ 400..=599) = status else { return false };
    let is_servers = status >= 500;
    match code.kind() {
        Type::InvalidRequest => is_servers || matches!(status, 401 | 402 | 403 | 407 | 408 | 425 | 429 | 499),
        Type::Authentication => is_servers || matches!(status, 402 | 404..=406 | 408..=418 | 425 | 429 | 499),
        Type::PaymentRequired => matches!(status, 404 | 405 | 408 | 413 | 415 | 499 | 502 | 504),
        Type::PermissionDenied => is_servers || matches!(status, 404 | 405 | 408 | 413 | 415 | 425 | 426 | 429 | 499),
        Type::NotFound => is_servers || matches!(status, 401 | 402 | 405 | 407 | 408 | 413 | 415 | 425 | 429 | 499),
        Type::Conflict => is_servers || matches!(status, 401..=405 | 407 | 408 | 410 | 413 | 415 | 429 | 499),
        Type::NotReady => is_servers || matches!(status, 401..=403 | 405 | 407 | 413 | 415 | 429 | 499),
        Type::RateLimited | Type::ConcurrencyLimited => {
            matches!(status, 401 | 404 | 405 | 413 | 415 | 499 | 500 | 502 | 504)
        }
        Type::Unavailable => !is_servers && !matches!(status, 425 | 429),
        Type::Timeout => !(is_servers || code == Code::SessionTimeout && matches!(status, 408 | 410 | 440)),
        Type::Internal | Type::Upstream => !is_servers && status != 424,
        Type::Cancelled => status != 499,
    }
}

/// Whether a status means something of the same kind, and nothing more specific.
pub(crate) fn agrees(code: Code, status: Option<u16>) -> bool {
    let Some(status @ 400..=599) = status else { return true };
    // What is most general within its type leaves room for what the status says more precisely.
    if matches!(code, Code::InvalidRequest | Code::InvalidParameter | Code::MissingParameter) {
        return matches!(status, 400 | 422);
    }
    if matches!(code, Code::InternalError | Code::UnknownError) {
        return matches!(status, 500 | 501 | 505..=508);
    }
    if code == Code::UpstreamError {
        return matches!(status, 500 | 502 | 520..=530);
    }
    match code.kind() {
        Type::InvalidRequest => matches!(status, 400 | 406 | 415 | 422),
        Type::Authentication => matches!(status, 401 | 403 | 407 | 419 | 440 | 498),
        Type::PaymentRequired => matches!(status, 400..=403 | 429),
        Type::PermissionDenied => matches!(status, 400..=403 | 422 | 451),
        Type::NotFound => matches!(status, 400 | 404 | 410 | 422),
        Type::Conflict => matches!(status, 400 | 409 | 412 | 422 | 423 | 428),
        Type::NotReady => matches!(status, 400 | 404 | 409 | 425),
        Type::RateLimited | Type::ConcurrencyLimited => matches!(status, 400 | 402 | 403 | 420 | 429 | 430),
        Type::Unavailable => matches!(status, 429 | 500 | 502 | 503 | 529),
        Type::Timeout => matches!(status, 500 | 502..=504 | 522 | 524 | 598 | 599),
        Type::Internal | Type::Upstream => matches!(status, 500..=502),
        Type::Cancelled => status == 499,
    }
}

fn has_all(folded: &str, words: &[&str]) -> bool {
    words.iter().all(|word| match word.as_bytes() {
        [b'*', ..] => folded.contains(word.trim_start_matches('*')),
        [b'=', ..] => folded.trim_matches('_') == word.trim_start_matches('='),
        _ => folded.match_indices(word).any(|(at, _)| folded.as_bytes().get(at.wrapping_sub(1)) == Some(&b'_')),
    })
}

/// Lower case, `camelCase` and `HTTPError` split, everything but letters and digits as one `_`, and one at either end.
fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len().min(512) + 8);
    folded.push('_');
    let mut before = ' ';
    let mut chars = text.chars().take(512).peekable();
    while let Some(char) = chars.next() {
        if char.is_alphanumeric() {
            let begins =
                before.is_lowercase() || before.is_uppercase() && chars.peek().is_some_and(|next| next.is_lowercase());
            if char.is_uppercase() && begins && !folded.ends_with('_') {
                folded.push('_');
            }
            folded.extend(char.to_lowercase());
        } else if !folded.ends_with('_') && char != '\'' && char != '\u{2019}' {
            folded.push('_');
        }
        before = char;
    }
    if !folded.ends_with('_') {
        folded.push('_');
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

/// The meaning of a number of google.rpc.Code; none for 0, which is no error.
#[must_use]
pub(crate) fn by_grpc(number: u16) -> Option<Code> {
    Some(match number {
        // Not by our client, which waits for the answer.
        1 => Code::Interrupted,
        2 => Code::UnknownError,
        3 | 11 => Code::InvalidParameter,
        4 => Code::UpstreamTimeout,
        5 => Code::ResourceNotFound,
        6 => Code::AlreadyExists,
        7 => Code::PermissionDenied,
        8 => Code::RateLimited,
        9 => Code::Conflict,
        10 => Code::ConcurrentModification,
        12 => Code::MethodNotAllowed,
        13 | 15 => Code::InternalError,
        14 => Code::Unavailable,
        16 => Code::InvalidCredentials,
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
            ("insufficient_credits", 400, Some(Code::InsufficientCredits)),
        ] {
            assert_eq!(word(code, Some(status)), expected, "{code} on {status}");
        }
    }
}
