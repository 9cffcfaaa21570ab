//! What the egress gateway is told, and the pure decisions on it.
//!
//! A connection passes three of them, in this order: the name and port must be allowed ([`EgressFile::decide`]), the
//! name must resolve, and every address of the answer must be one that may be dialled ([`EgressFile::decide_address`]).

mod address;
mod clients;
mod decision;
mod file;
mod host;
mod injection;

pub use address::{Address, AddressClass, ForbiddenRange, PUBLIC_IPV6, PrivateRange, not_public};
pub use clients::{CLIENTS_FILE_NAME, EgressClients};
pub use decision::{AddressDenial, Decision, HostDenial};
pub use file::{
    DeniedNetwork, DeniedNetworkKind, EgressAddresses, EgressAudit, EgressFile, EgressHostRule, EgressLimits,
    EgressListen, EgressMode, FILE_NAME, ParseError, PermittedNetwork, ResolverPolicy, SCHEMA,
};
pub use host::{HostName, HostPattern, ParseHostError};
pub use injection::{CredentialHeader, CredentialPrefix, Injection, InjectionError};
