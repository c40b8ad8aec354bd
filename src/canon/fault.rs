//! Failures that do not come from a provider: the network's, the client's and the gateway's own, one row of facts each.
//!
//! The shell decides *which* fault happened (`upstream/failure.rs`, `proxy/*`); what it means is decided here.

use super::code::Code;

/// Who caused an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The provider answered, and its answer is the error.
    Provider,
    /// The provider could not be reached or understood.
    Network,
    /// This gateway refused.
    Gateway,
    /// The client broke off or broke the protocol.
    Client,
}

impl Origin {
    /// Every origin, in the order of its index.
    pub const ALL: [Origin; 4] = [Origin::Provider, Origin::Network, Origin::Gateway, Origin::Client];

    /// The spelling on the wire and in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Origin::Provider => "provider",
            Origin::Network => "network",
            Origin::Gateway => "gateway",
            Origin::Client => "client",
        }
    }
}

/// Writes the enum and its facts from one list.
macro_rules! faults {
    ($($variant:ident $code:ident $origin:ident $proxy_status:literal $sentence:literal;)*) => {
        /// One way in which a call can fail without an error from the provider.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "each variant is documented by the sentence on its row")]
        pub enum Fault { $($variant),* }

        impl Fault {
            /// Every fault.
            pub const ALL: &'static [Fault] = &[$(Fault::$variant),*];

            const fn facts(self) -> (Code, Origin, &'static str, &'static str) {
                match self { $(Fault::$variant => (Code::$code, Origin::$origin, $proxy_status, $sentence)),* }
            }

            /// The whole `Proxy-Status` (RFC 9209).
            #[must_use]
            pub const fn proxy_status_line(self) -> &'static str {
                match self { $(Fault::$variant => concat!("speechgate; error=", $proxy_status)),* }
            }
        }
    };
}

faults! {
    // variant code origin proxy-status(RFC 9209 2.3) sentence
    RouteNotFound RouteNotFound Gateway "destination_not_found" "No route of this gateway matches the request.";
    BadRequest InvalidRequest Client "http_request_error" "The request is not valid HTTP.";
    BadHost InvalidRequest Client "http_request_error" "The Host of the request is missing, repeated or invalid.";
    BadPath InvalidRequest Client "http_request_denied" "The path of the request leaves the route or cannot be normalised.";
    TargetTooLong InvalidRequest Client "http_request_error" "The request target is too long.";
    HeadTooLarge InvalidRequest Client "http_request_error" "The header section of the request is too large.";
    MethodRefused MethodNotAllowed Gateway "http_request_denied" "This gateway does not forward this method.";
    UpgradeRefused InvalidRequest Gateway "http_request_denied" "This gateway upgrades to websocket only, and only by a proper handshake.";
    UpgradeVersion InvalidRequest Gateway "http_request_denied" "This gateway speaks version 13 of the WebSocket protocol, and no other.";
    OriginRefused PermissionDenied Gateway "http_request_denied" "This gateway does not take this request from a page of this origin.";
    BadRequestBody MalformedBody Client "http_request_error" "The body of the request is not validly framed.";
    RequestTooLarge PayloadTooLarge Gateway "http_request_denied" "The body of the request is larger than this route allows.";
    RequestHeadTimeout RequestTimeout Client "connection_read_timeout" "The header section of the request did not arrive in time.";
    RequestBodyTimeout RequestTimeout Client "connection_read_timeout" "The body of the request did not arrive in time.";
    ClientLeft ClientCancelled Client "connection_terminated" "The client left before the answer was complete.";
    ClientStalled ClientCancelled Client "connection_write_timeout" "The client stopped reading the answer.";
    ClientLost ClientCancelled Client "connection_read_timeout" "The client answered no ping any more: its connection is dead.";
    TooManyConnections Overloaded Gateway "connection_limit_reached" "This gateway has as many connections as it allows.";
    NoSockets Overloaded Gateway "connection_limit_reached" "This gateway has no socket left: descriptors, ports or memory of its system have run out.";
    PreflightsWait Overloaded Gateway "connection_limit_reached" "As many preflights as may go on to the provider of this route are there, and none was answered in time.";
    ShuttingDown ShuttingDown Gateway "proxy_internal_response" "This gateway is shutting down.";
    KeyMissing MissingCredentials Gateway "http_request_denied" "The request has no gateway key. It belongs where the provider's key would be, or into x-speechgate-key.";
    KeyUnknown InvalidCredentials Gateway "http_request_denied" "The key of the request is no key of this gateway. Its keys begin with sg_.";
    KeyExpired ExpiredCredentials Gateway "http_request_denied" "The gateway key of the request has expired.";
    TenantUnknown InvalidCredentials Gateway "http_request_denied" "The request names a tenant that this gateway does not have.";
    TenantConflict InvalidCredentials Gateway "http_request_denied" "The request is of two tenants: what it shows and what it says name different ones.";
    RouteForbidden PermissionDenied Gateway "http_request_denied" "The gateway key of the request does not open this route.";
    ProviderKeyMissing MissingCredentials Gateway "http_request_denied" "This route has no key of the provider. Clients send their own in its place, and the gateway key in x-speechgate-key.";
    BudgetUsedUp QuotaExceeded Gateway "http_request_denied" "The budget that this gateway has for the client is used up.";
    KeyInPath InvalidRequest Gateway "http_request_denied" "A gateway key stands in the path of the request.";
    Panic InternalError Gateway "proxy_internal_error" "This gateway failed inside.";
    RateExceeded RateLimited Gateway "http_request_denied" "More requests than the rate limit of this route allows.";
    TextOverRate TextTooLong Gateway "http_request_denied" "The text is longer than the rate limit of this route ever allows at once.";
    BodyOverRate PayloadTooLarge Gateway "http_request_denied" "The body is larger than the rate limit of this route ever allows at once.";
    QueueFull ConcurrencyLimited Gateway "connection_limit_reached" "As many calls as this route allows are running, and as many as may are waiting.";
    QueueTimeout ConcurrencyLimited Gateway "connection_limit_reached" "As many calls as this route allows are running, and none ended in time.";
    ProviderHeld Unavailable Gateway "destination_unavailable" "The provider asked for a pause, which is not over yet.";
    CredentialTurnedAway InvalidCredentials Gateway "http_request_denied" "The provider said so on a socket a moment ago; handshakes with this credential are refused here for some seconds.";
    CircuitOpen CircuitOpen Gateway "destination_unavailable" "The provider has been failing and is left alone for a moment.";
    Loop InvalidRequest Gateway "proxy_loop_detected" "The request has passed through this gateway already.";
    DnsError UpstreamUnreachable Network "dns_error" "The provider's name could not be resolved.";
    DnsTimeout UpstreamTimeout Network "dns_timeout" "The provider's name was not resolved in time.";
    ConnectRefused UpstreamUnreachable Network "connection_refused" "The provider refused the connection.";
    ConnectFailed UpstreamUnreachable Network "destination_ip_unroutable" "The provider could not be reached.";
    ConnectTimeout UpstreamTimeout Network "connection_timeout" "No connection to the provider could be made in time.";
    TlsCertificate UpstreamTlsError Network "tls_certificate_error" "The provider's certificate is not trusted, not valid now, or for another name.";
    TlsProtocol UpstreamTlsError Network "tls_protocol_error" "The TLS handshake with the provider failed.";
    TlsAlert UpstreamTlsError Network "tls_alert_received" "The provider ended the TLS handshake with an alert.";
    ResponseTimeout UpstreamTimeout Network "http_response_timeout" "The provider did not answer in time.";
    TotalTimeout UpstreamTimeout Gateway "http_response_timeout" "The request took longer than this route allows.";
    DeadlinePassed UpstreamTimeout Client "http_response_timeout" "The deadline that the client set for the call has passed.";
    ResponseStalled UpstreamTimeout Network "connection_read_timeout" "The provider stopped sending in the middle of its answer.";
    PingsUnanswered UpstreamDisconnected Network "connection_read_timeout" "The provider answered no ping any more: its connection is dead.";
    NoAudio NoAudio Provider "http_response_incomplete" "The provider ended in order without any audio, although there was text.";
    AudioLate AudioLate Provider "http_response_timeout" "No audio came in time after the provider had all that it needed.";
    AudioStalled AudioStalled Provider "connection_read_timeout" "The provider's audio stopped in the middle.";
    NoResult NoResult Provider "http_response_timeout" "The transcription was asked to finish, and no final result came in time.";
    ConnectionClosed UpstreamDisconnected Network "connection_terminated" "The provider closed the connection without answering.";
    ResponseHeadInvalid InvalidUpstreamResponse Network "http_protocol_error" "The provider answered with something that is not valid HTTP.";
    ResponseHeadIncomplete UpstreamDisconnected Network "http_response_incomplete" "The provider closed the connection in the middle of its answer's header section.";
    ResponseHeadTooLarge InvalidUpstreamResponse Network "http_response_header_section_size" "The header section of the provider's answer is too large.";
    ResponseTrailersTooLarge InvalidUpstreamResponse Network "http_response_trailer_section_size" "The trailer section of the provider's answer is too large.";
    ResponseBodyInvalid InvalidUpstreamResponse Network "http_response_transfer_coding" "The body of the provider's answer is not validly framed.";
    ResponseBodyIncomplete UpstreamDisconnected Network "http_response_incomplete" "The provider closed the connection in the middle of its answer.";
    NotGrpc InvalidUpstreamResponse Network "http_protocol_error" "The provider's answer to a gRPC call ended without a gRPC status.";
    UpgradeFailed InvalidUpstreamResponse Network "http_upgrade_failed" "The provider's answer to the upgrade was not a valid WebSocket handshake.";
    SocketInvalid InvalidUpstreamResponse Network "http_protocol_error" "The provider broke the WebSocket protocol.";
    SocketTooLarge InvalidUpstreamResponse Network "http_response_body_size" "The provider sent a message that is larger than this gateway passes on.";
    ClientSocketInvalid InvalidRequest Client "http_protocol_error" "The client broke the WebSocket protocol.";
    ClientSocketTooLarge PayloadTooLarge Gateway "http_request_denied" "The message is larger than this gateway passes on.";
    FirstMessageUnfit MalformedBody Gateway "http_request_denied" "The first text message has to be a JSON object, because this route puts its credentials into it.";
    RequestWriteFailed UpstreamDisconnected Network "connection_terminated" "The provider closed the connection while the request was being sent.";
}

impl Fault {
    /// What happened, in the closed vocabulary.
    #[must_use]
    pub const fn code(self) -> Code {
        self.facts().0
    }

    /// The HTTP status: the code's, except for faults to which an RFC assigns another (RFC 9112 3, a MUST, RFC 6585 5,
    /// RFC 6455 4.4).
    #[must_use]
    pub const fn status(self) -> u16 {
        if matches!(self, Fault::TargetTooLong) {
            414
        } else if matches!(self, Fault::HeadTooLarge) {
            431
        } else if matches!(self, Fault::UpgradeVersion) {
            426
        } else {
            self.code().status()
        }
    }

    /// Who caused it.
    #[must_use]
    pub const fn origin(self) -> Origin {
        self.facts().1
    }

    /// The error type for `Proxy-Status` (RFC 9209 2.3).
    #[must_use]
    pub const fn proxy_status(self) -> &'static str {
        self.facts().2
    }

    /// The message of the envelope: fixed text, so that no address, path or library text can leak.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        self.facts().3
    }
}
