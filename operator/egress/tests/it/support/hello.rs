//! ClientHellos, byte by byte.

/// A record of the handshake.
pub fn record(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&[22, 3, 1], length.to_be_bytes().as_slice(), content].concat()
}

fn vector16(content: &[u8]) -> Vec<u8> {
    [u16::try_from(content.len()).unwrap().to_be_bytes().as_slice(), content].concat()
}

/// The message of a ClientHello with these extensions.
fn message(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, content)| [kind.to_be_bytes().to_vec(), vector16(content)].concat())
        .collect();
    let body = [
        &[3, 3],
        [7; 32].as_slice(),
        &[32],
        &[9; 32],
        // With a GREASE suite in front (RFC 8701).
        &vector16(&[0x3a, 0x3a, 0x13, 0x01, 0x13, 0x02]),
        &[1, 0],
        &vector16(&extensions),
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[1], &length[1..], &body].concat()
}

fn server_name(name: &str) -> (u16, Vec<u8>) {
    (0, vector16(&[&[0], vector16(name.as_bytes()).as_slice()].concat()))
}

/// The message that asks for `name` with these extensions beside.
pub fn hello(name: Option<&str>, more: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let grease = [(0x1a1a, vec![]), (0xeaea, vec![0])];
    let name = name.map(server_name);
    message(&[&grease[..1], name.as_slice(), more, &grease[1..]].concat())
}

/// A whole, ordinary ClientHello.
pub fn hello_for(name: &str) -> Vec<u8> {
    record(&hello(Some(name), &[]))
}

/// The same message in records of `size` bytes each.
pub fn fragmented(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(record).collect()
}
