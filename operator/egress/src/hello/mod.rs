//! Reading TLS handshakes from outside: which server does the client ask for.
//!
//! Only what is sent in the clear is read, and only as much of it as the decision needs. The forms are those of RFC 8446
//! (TLS 1.3, whose first flight is also that of TLS 1.2), RFC 6066 section 3 (server name) and RFC 9849 (Encrypted
//! Client Hello).

mod client_hello;
mod reader;
mod records;
mod server_hello;

pub use client_hello::{ClientHello, HelloDenial};
pub use reader::{HelloReader, SecondHelloReader};
pub use server_hello::{ServerAnswer, ServerHelloReader};
