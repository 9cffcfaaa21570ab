//! Why a connection does not come about, and what the client is told.

use crate::hello::HelloDenial;
use crate::inject::{RequestDenial, UpstreamError};
use crate::target::TargetError;
use http::StatusCode;
use sallyport_policy::egress::{AddressDenial, HostDenial};

/// Why a connection does not come about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request has no target.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// No rule allows the host and port.
    #[error("no rule of the endpoint's spec.egress.allow allows this host and port: add one with this host and port")]
    Host(HostDenial),
    /// Every address of the host is closed; this is why the first one is.
    #[error("the host has no address that may be called: {}", advice(*.0))]
    Address(AddressDenial),
    /// The tunnel's beginning is not what it must be.
    #[error("the connection does not begin with a TLS ClientHello for the host that was asked for")]
    Hello(HelloDenial),
    /// The name has no address.
    #[error("the host name has no address: check its spelling")]
    NoAddress,
    /// The name servers did not answer in time.
    #[error("the name servers did not answer in time")]
    ResolverTimedOut,
    /// The name servers failed.
    #[error("the name servers could not resolve the host name")]
    ResolverFailed,
    /// No address took the connection.
    #[error("the host does not accept connections on this port")]
    ConnectFailed,
    /// No address took the connection in time.
    #[error("the host did not accept the connection in time")]
    ConnectTimedOut,
    /// The host did not answer the forwarded request.
    #[error("the host broke off without an answer")]
    UpstreamFailed,
    /// TLS with the host does not come about.
    #[error("{}", upstream_advice(*.0))]
    Upstream(UpstreamError),
    /// The signer of the calling pod does not certify the gateway.
    #[error(
        "the pod's signer does not certify the gateway for this host: is its audit sidecar up and of this release?"
    )]
    NoCertificate,
    /// The client broke off the handshake.
    #[error("the client does not trust its pod's signer, or broke off: see the trust files in the server's container")]
    ClientTls,
    /// A request inside gets no credential.
    #[error(transparent)]
    Request(RequestDenial),
    /// There is no credential to add.
    #[error("the credential of this host cannot be read, so nothing is forwarded: check the Secret and its key")]
    CredentialUnavailable,
    /// As many connections as allowed are open.
    #[error(
        "too many connections are open for one gateway, whose bound is fixed: close those that are not needed, or give the endpoint a second replica, which brings a second gateway"
    )]
    TooManyConnections,
    /// More connections a second than allowed.
    #[error("connections are opened too fast: try again in a second")]
    TooFast,
    /// Nothing passes unrecorded.
    #[error("the gateway's events cannot be written, so no connection is let through")]
    SinkUnavailable,
}

fn advice(denial: AddressDenial) -> &'static str {
    match denial {
        AddressDenial::Metadata => "it is a cloud's metadata service, which stays closed",
        AddressDenial::Forbidden(_) => "it lies in a range that stays closed",
        AddressDenial::Cluster(_) => "it lies inside the cluster; allow a service instead of a host",
        AddressDenial::PrivateNotPermitted => {
            "it lies in a private network; allow that network too, by a cidr in spec.egress.allow"
        }
    }
}

fn upstream_advice(error: UpstreamError) -> &'static str {
    match error {
        UpstreamError::Untrusted => {
            "the host's certificate is not valid for it, or no trusted authority vouches for it"
        }
        UpstreamError::Handshake => "the host broke off the TLS handshake",
        UpstreamError::Authorities => "the certificates that vouch for the host cannot be read: check the ConfigMap",
    }
}

impl Refusal {
    /// As in events, metrics and the refusal's header.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Target(error) => error.as_str(),
            Self::Host(denial) => denial.as_str(),
            Self::Address(denial) => denial.as_str(),
            Self::Hello(denial) => denial.as_str(),
            Self::NoAddress => "no_address",
            Self::ResolverTimedOut => "resolver_timed_out",
            Self::ResolverFailed => "resolver_failed",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimedOut => "connect_timed_out",
            Self::UpstreamFailed => "upstream_failed",
            Self::Upstream(error) => error.as_str(),
            Self::NoCertificate => "no_certificate",
            Self::ClientTls => "client_tls_failed",
            Self::Request(denial) => denial.as_str(),
            Self::CredentialUnavailable => "credential_unavailable",
            Self::TooManyConnections => "too_many_connections",
            Self::TooFast => "too_fast",
            Self::SinkUnavailable => "sink_unavailable",
        }
    }

    /// Whether policy refused it, rather than circumstances.
    pub const fn is_denial(&self) -> bool {
        matches!(
            self,
            Self::Target(_) | Self::Host(_) | Self::Address(_) | Self::Hello(_) | Self::Request(_)
        )
    }

    /// Status of the answer to a proxy request.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Target(TargetError::Host(_))
            | Self::Host(_)
            | Self::Address(_)
            | Self::Hello(_)
            | Self::Request(_) => StatusCode::FORBIDDEN,
            Self::Target(TargetError::HeadTooLarge) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Target(_) => StatusCode::BAD_REQUEST,
            Self::NoAddress
            | Self::ResolverFailed
            | Self::ConnectFailed
            | Self::UpstreamFailed
            | Self::Upstream(_)
            | Self::NoCertificate
            | Self::ClientTls
            | Self::CredentialUnavailable => StatusCode::BAD_GATEWAY,
            Self::ResolverTimedOut | Self::ConnectTimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::TooFast => StatusCode::TOO_MANY_REQUESTS,
            Self::TooManyConnections | Self::SinkUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The proxy error type of RFC 9209 section 2.3.
    pub const fn error_type(&self) -> &'static str {
        match self {
            Self::Target(TargetError::Host(_)) | Self::Host(_) | Self::Hello(_) | Self::Request(_) => {
                "http_request_denied"
            }
            Self::Target(_) => "http_request_error",
            Self::Address(_) => "destination_ip_prohibited",
            Self::NoAddress | Self::ResolverFailed => "dns_error",
            Self::ResolverTimedOut => "dns_timeout",
            Self::ConnectFailed => "connection_refused",
            Self::ConnectTimedOut => "connection_timeout",
            Self::UpstreamFailed => "http_response_incomplete",
            Self::TooManyConnections | Self::TooFast => "connection_limit_reached",
            Self::Upstream(UpstreamError::Untrusted) => "tls_certificate_error",
            Self::Upstream(_) | Self::ClientTls => "tls_protocol_error",
            Self::SinkUnavailable | Self::NoCertificate | Self::CredentialUnavailable => "proxy_internal_error",
        }
    }
}
