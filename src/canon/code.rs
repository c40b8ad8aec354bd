//! The closed vocabulary: 14 types, and the codes under them, one row of facts each.
//!
//! Everything that depends on a code (HTTP status, close code, gRPC status, whether to retry, label, sentence, advice)
//! stands on its row here and nowhere else. A new code is a new row.

use std::fmt;

/// What the client should do. Closed: a new type only comes with a major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Type {
    /// Change the request.
    InvalidRequest,
    /// Fix or renew the credentials.
    Authentication,
    /// Pay or upgrade; waiting will not help.
    PaymentRequired,
    /// Ask for access.
    PermissionDenied,
    /// Check the id.
    NotFound,
    /// Look at the current state.
    Conflict,
    /// Keep polling.
    NotReady,
    /// Send more slowly.
    RateLimited,
    /// Wait for one of one's own calls to end.
    ConcurrencyLimited,
    /// Retry a little, then report.
    Internal,
    /// Retry.
    Upstream,
    /// Retry later.
    Unavailable,
    /// Retry.
    Timeout,
    /// Nobody is listening any more: log and metrics only.
    Cancelled,
}

impl Type {
    /// Every type, in the order of the design's table.
    pub const ALL: [Type; 14] = [
        Type::InvalidRequest,
        Type::Authentication,
        Type::PaymentRequired,
        Type::PermissionDenied,
        Type::NotFound,
        Type::Conflict,
        Type::NotReady,
        Type::RateLimited,
        Type::ConcurrencyLimited,
        Type::Internal,
        Type::Upstream,
        Type::Unavailable,
        Type::Timeout,
        Type::Cancelled,
    ];

    /// The spelling on the wire and in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.facts().0
    }

    /// What a client that knows only the type should do.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        self.facts().1
    }

    /// Whether only the client can fix it, so that no operator needs to be paged.
    #[must_use]
    pub const fn is_clients(self) -> bool {
        match self {
            Type::InvalidRequest | Type::NotFound | Type::Conflict | Type::NotReady | Type::Cancelled => true,
            Type::Authentication
            | Type::PaymentRequired
            | Type::PermissionDenied
            | Type::RateLimited
            | Type::ConcurrencyLimited
            | Type::Internal
            | Type::Upstream
            | Type::Unavailable
            | Type::Timeout => false,
        }
    }

    const fn facts(self) -> (&'static str, &'static str) {
        match self {
            Type::InvalidRequest => ("invalid_request", "change the request"),
            Type::Authentication => ("authentication", "fix or renew the credentials"),
            Type::PaymentRequired => ("payment_required", "pay or upgrade; waiting will not help"),
            Type::PermissionDenied => ("permission_denied", "ask for access"),
            Type::NotFound => ("not_found", "check the id"),
            Type::Conflict => ("conflict", "look at the current state"),
            Type::NotReady => ("not_ready", "keep polling"),
            Type::RateLimited => ("rate_limited", "send more slowly"),
            Type::ConcurrencyLimited => ("concurrency_limited", "wait for one of your own calls to end"),
            Type::Internal => ("internal", "retry a little, then report"),
            Type::Upstream => ("upstream", "retry"),
            Type::Unavailable => ("unavailable", "retry later"),
            Type::Timeout => ("timeout", "retry"),
            Type::Cancelled => ("cancelled", "nothing: the client had left"),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The facts of one code.
#[derive(Debug)]
pub struct Row {
    /// Which code the facts belong to.
    pub code: Code,
    /// The spelling on the wire and in labels.
    pub name: &'static str,
    /// What the client should do.
    pub kind: Type,
    /// HTTP status, whatever the provider sent.
    pub status: u16,
    /// WebSocket close code for closes that the gateway makes (RFC 6455 7.4, IANA registry).
    pub close: u16,
    /// Number of `google.rpc.Code` for answers of gRPC.
    pub grpc: u8,
    /// Whether the same request may succeed later, unless the provider says otherwise.
    pub retryable: bool,
    /// What happened, for people; the message when the provider sent none.
    pub sentence: &'static str,
    /// What to do about it.
    pub advice: &'static str,
}

/// Writes the enum and the table from one list, so that neither can have a row the other lacks.
macro_rules! codes {
    ($($variant:ident $name:literal $kind:ident $status:literal $close:literal $grpc:literal $retry:literal $sentence:literal $advice:literal;)*) => {
        /// What happened. Closed per release.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each variant is documented by the sentence on its row")]
        pub enum Code { $($variant),* }

        impl Code {
            /// Every code with its facts, in the order of the design's table.
            pub const ROWS: &'static [Row] = &[
                $(Row {
                    code: Code::$variant, name: $name, kind: Type::$kind, status: $status, close: $close, grpc: $grpc,
                    retryable: $retry, sentence: $sentence, advice: $advice,
                }),*
            ];

            /// The facts of this code.
            #[must_use]
            pub const fn row(self) -> &'static Row {
                match self { $(Code::$variant => const { &Row {
                    code: Code::$variant, name: $name, kind: Type::$kind, status: $status, close: $close, grpc: $grpc,
                    retryable: $retry, sentence: $sentence, advice: $advice,
                } }),* }
            }
        }
    };
}

codes! {
    // variant name type status close grpc retryable sentence advice
    InvalidRequest "invalid_request" InvalidRequest 400 1008 3 false "The request is invalid." "Read the message and the details, change the request, send it again.";
    MalformedBody "malformed_body" InvalidRequest 400 1007 3 false "The request body or the message could not be parsed." "Check that the body is complete and valid for its content type.";
    MissingParameter "missing_parameter" InvalidRequest 400 1008 3 false "A required parameter is missing." "Add the parameter that `param` or `details` names.";
    InvalidParameter "invalid_parameter" InvalidRequest 400 1008 3 false "A parameter has a value that is not allowed." "Change the parameter that `param` or `details` names.";
    UnsupportedContentType "unsupported_content_type" InvalidRequest 415 1003 3 false "The content type of the request is not supported." "Send the content type that the provider documents for this path.";
    PayloadTooLarge "payload_too_large" InvalidRequest 413 1009 3 false "The request, the file or the message is too large." "Send less at once, or raise the limit when it is the gateway's own.";
    MethodNotAllowed "method_not_allowed" InvalidRequest 405 1008 12 false "This path does not take this method." "Check the method and the path against the provider's reference.";
    TextEmpty "text_empty" InvalidRequest 400 1008 3 false "The text is empty or has nothing to speak." "Send text with at least one word.";
    TextTooShort "text_too_short" InvalidRequest 400 1008 3 false "The text is shorter than the minimum." "Send a longer text.";
    TextTooLong "text_too_long" InvalidRequest 400 1008 3 false "The text is longer than the maximum." "Split the text and send it in parts.";
    TextInvalid "text_invalid" InvalidRequest 400 1008 3 false "The text has characters or markup that cannot be used." "Clean the text: control characters, broken markup, unsupported symbols.";
    AudioMissing "audio_missing" InvalidRequest 400 1008 3 false "No audio was sent." "Attach the audio under the name that the provider documents.";
    AudioInvalid "audio_invalid" InvalidRequest 400 1007 3 false "The audio is broken or cannot be decoded." "Check that the file plays, and that its format is what was announced.";
    AudioTooShort "audio_too_short" InvalidRequest 400 1008 3 false "The audio is shorter than the minimum." "Send a longer recording.";
    AudioTooLong "audio_too_long" InvalidRequest 400 1008 3 false "The audio is longer than the maximum." "Split the recording.";
    UnsupportedAudioFormat "unsupported_audio_format" InvalidRequest 400 1003 3 false "The format of the audio is not supported." "Convert the audio to a format that the provider lists.";
    UnsupportedOutputFormat "unsupported_output_format" InvalidRequest 400 1003 3 false "The requested output format is not supported." "Ask for an output format that the provider and the plan offer.";
    UnsupportedLanguage "unsupported_language" InvalidRequest 400 1008 3 false "The language is not supported here." "Choose a language that the model and the voice support.";
    UnsupportedModel "unsupported_model" InvalidRequest 400 1008 3 false "The model cannot be used for this operation." "Choose a model that supports this operation.";
    VoiceModelMismatch "voice_model_mismatch" InvalidRequest 400 1008 3 false "The voice and the model do not go together." "Choose another voice or another model.";
    SessionConfigInvalid "session_config_invalid" InvalidRequest 400 1008 3 false "The session's configuration was refused." "Change the configuration message as the reason says.";
    SessionConfigMissing "session_config_missing" InvalidRequest 400 1008 3 false "The session had no configuration when it needed one." "Send the configuration as the first message.";
    MissingCredentials "missing_credentials" Authentication 401 3000 16 false "No credentials were sent." "Send the key or the token, or configure it on the route.";
    InvalidCredentials "invalid_credentials" Authentication 401 3000 16 false "The credentials are not valid." "Check the key or the token; it may be mistyped, revoked, or of another environment.";
    ExpiredCredentials "expired_credentials" Authentication 401 3000 16 false "The credentials have expired." "Get a fresh token or rotate the key.";
    AccountDisabled "account_disabled" Authentication 401 3000 16 false "The account behind the credentials is disabled." "Contact the provider about the account.";
    InsufficientCredits "insufficient_credits" PaymentRequired 402 1008 9 false "The account does not have enough credits." "Top up the account, or ask for less.";
    QuotaExceeded "quota_exceeded" PaymentRequired 402 1008 8 false "The account has used up its quota." "Upgrade the plan, or wait for the next billing period.";
    PlanLimitReached "plan_limit_reached" PaymentRequired 402 1008 8 false "A limit of the plan has been reached." "Upgrade the plan, or free what the limit counts.";
    PermissionDenied "permission_denied" PermissionDenied 403 3003 7 false "The credentials do not allow this." "Ask for the permission, or use credentials that have it.";
    PlanUpgradeRequired "plan_upgrade_required" PermissionDenied 403 3003 7 false "This needs a higher plan." "Upgrade the plan, or use what the present one includes.";
    FeatureNotEnabled "feature_not_enabled" PermissionDenied 403 3003 7 false "This feature is not enabled for the account." "Ask the provider to enable the feature.";
    IpNotAllowed "ip_not_allowed" PermissionDenied 403 3003 7 false "Requests from this address are not allowed." "Add the address to the provider's allow list.";
    TermsNotAccepted "terms_not_accepted" PermissionDenied 403 3003 7 false "Terms have to be accepted first." "Accept the terms in the provider's console.";
    AbuseSuspected "abuse_suspected" PermissionDenied 403 3003 7 false "The provider suspects abuse and has blocked this." "Contact the provider.";
    ContentRejected "content_rejected" PermissionDenied 403 3003 7 false "The content was refused by a moderation or safety rule." "Change the content.";
    VoiceNotFound "voice_not_found" NotFound 404 1008 5 false "The voice does not exist." "Check the voice id, and that the account may see it.";
    ModelNotFound "model_not_found" NotFound 404 1008 5 false "The model does not exist." "Check the model id.";
    ResourceNotFound "resource_not_found" NotFound 404 1008 5 false "What was asked for does not exist." "Check the id and the path.";
    RouteNotFound "route_not_found" NotFound 404 1008 12 false "No route of this gateway matches the request." "Check the path prefix and the host against the gateway's routes.";
    Conflict "conflict" Conflict 409 1008 9 false "The request conflicts with the current state." "Read the current state, then decide.";
    AlreadyExists "already_exists" Conflict 409 1008 6 false "Something with this name or id exists already." "Use the existing one, or another name.";
    AlreadyRunning "already_running" Conflict 409 1008 9 false "The operation is running already." "Wait for it, or poll it.";
    ConcurrentModification "concurrent_modification" Conflict 409 1008 10 true "Somebody else changed it at the same time." "Read the latest version and apply the change again.";
    NotReady "not_ready" NotReady 425 1013 14 true "The result is not ready yet." "Keep polling, at the pace of Retry-After.";
    RateLimited "rate_limited" RateLimited 429 1013 8 true "Too many requests in too short a time." "Wait as long as Retry-After says, then send more slowly.";
    PollRateLimited "poll_rate_limited" RateLimited 429 1013 8 true "The same result is being polled too often." "Keep polling, at the pace of Retry-After.";
    ConcurrencyLimited "concurrency_limited" ConcurrencyLimited 429 1013 8 true "As many calls as the plan allows are running already." "Wait for one of your own calls to end.";
    InternalError "internal_error" Internal 500 1011 13 true "An internal error occurred." "Retry a little; report it with both request ids when it persists.";
    ProviderMisconfigured "provider_misconfigured" Internal 503 1011 13 false "The service is not configured correctly on the other side." "Report it with both request ids; retrying will not help.";
    UnknownError "unknown_error" Internal 500 1011 2 false "An error that nothing here recognises." "Look at `upstream`, and report it with both request ids.";
    UpstreamError "upstream_error" Upstream 502 1014 14 true "The provider, or a service behind it, failed." "Retry with backoff.";
    GenerationFailed "generation_failed" Upstream 502 1011 13 true "The generation failed." "Retry with backoff.";
    TranscriptionFailed "transcription_failed" Upstream 502 1011 13 true "The transcription failed." "Retry; check the audio when it fails again.";
    ScoringFailed "scoring_failed" Upstream 502 1011 13 true "The scoring failed." "Submit it again as a new run.";
    VoiceCreationFailed "voice_creation_failed" Upstream 502 1011 13 true "The voice could not be created." "Retry; check the samples when it fails again.";
    InvalidUpstreamResponse "invalid_upstream_response" Upstream 502 1014 13 true "The provider answered with something that cannot be understood." "Retry; report it when it persists.";
    NoAudio "no_audio" Upstream 502 1011 13 true "The provider ended in order without any audio, although there was text." "Retry; check the text when it happens again.";
    UpstreamUnreachable "upstream_unreachable" Upstream 502 1014 14 true "The provider could not be reached." "Retry with backoff; check DNS, network policy and the provider's status page.";
    UpstreamTlsError "upstream_tls_error" Upstream 502 1014 14 true "No trusted TLS connection to the provider could be made." "Check the certificate, the clock and the CA file of the route.";
    UpstreamDisconnected "upstream_disconnected" Upstream 502 1014 14 true "The provider broke the connection off." "Retry; what was received before is incomplete.";
    Unavailable "unavailable" Unavailable 503 1013 14 true "The service is temporarily unavailable." "Retry later.";
    Overloaded "overloaded" Unavailable 503 1013 14 true "The provider is out of capacity." "Retry later, with backoff and jitter.";
    WarmingUp "warming_up" Unavailable 503 1013 14 true "The service is warming up." "Retry at the pace of Retry-After; it can take minutes.";
    Maintenance "maintenance" Unavailable 503 1012 14 true "The service is under maintenance." "Retry after the maintenance window.";
    Interrupted "interrupted" Unavailable 503 1012 14 true "The service restarted in the middle of this." "Send the request again.";
    CircuitOpen "circuit_open" Unavailable 503 1013 14 true "The provider has been failing and is left alone for a moment." "Retry at the pace of Retry-After.";
    ShuttingDown "shutting_down" Unavailable 503 1001 14 true "The gateway is shutting down." "Send the request again; another instance will take it.";
    UpstreamTimeout "upstream_timeout" Timeout 504 1014 4 true "The provider did not answer in time." "Retry; raise the route's timeouts when the work really takes longer.";
    AudioLate "audio_late" Timeout 504 1011 4 true "No audio came in time after the provider had all that it needed." "Retry; raise `silence.first_audio` of the route when the provider is only slow.";
    AudioStalled "audio_stalled" Timeout 504 1011 4 true "The audio stopped in the middle." "Retry; what was received before is incomplete.";
    NoResult "no_result" Timeout 504 1011 4 true "The transcription was asked to finish, and no final result came in time." "Retry; what was received before may be incomplete.";
    SessionTimeout "session_timeout" Timeout 504 3008 4 true "The session ended because its time was over or nothing was sent." "Open a new session; send input or keep-alives in time.";
    RequestTimeout "request_timeout" Timeout 408 3008 4 true "The request did not arrive in time." "Send it again, faster or in parts.";
    ClientCancelled "client_cancelled" Cancelled 499 1001 1 false "The client left before the answer was complete." "Nothing, unless clients leave more often than they should.";
}

impl Code {
    /// The spelling on the wire and in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().name
    }

    /// What the client should do.
    #[must_use]
    pub const fn kind(self) -> Type {
        self.row().kind
    }

    /// HTTP status of this code.
    #[must_use]
    pub const fn status(self) -> u16 {
        self.row().status
    }

    /// The code's place in [`Code::ROWS`]: a dense index for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The code with this spelling.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Code> {
        Code::ROWS.iter().find(|row| row.name == name).map(|row| row.code)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_agree_with_the_enum_and_the_design() {
        for (index, row) in Code::ROWS.iter().enumerate() {
            assert_eq!(row.code.index(), index, "{} is out of order", row.name);
            assert_eq!(Code::from_name(row.name), Some(row.code));
            assert_eq!(row.code.row().name, row.name);
            assert!(row.sentence.ends_with('.') && row.advice.ends_with('.'), "{}", row.name);
            assert!((400..=599).contains(&row.status), "{}", row.name);
            let sendable = matches!(row.close, 1000..=1003 | 1007..=1014 | 3000..=4999);
            assert!(sendable, "{}: close code {} may not be sent (RFC 6455 7.4.1)", row.name, row.close);
            assert!((1..=16).contains(&row.grpc), "{}: no number of google.rpc.Code that is an error", row.name);
        }
        assert_eq!(Code::ROWS.len(), 75);
        for kind in Type::ALL {
            assert!(Code::ROWS.iter().any(|row| row.kind == kind), "{kind} has no code");
        }
    }
}
