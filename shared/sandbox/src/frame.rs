//! Frames on the socket between the service and a worker: one byte for the kind, the length as eight bytes in little
//! endian,
//! and the content.

use std::io::{self, IoSlice, Read, Write};

/// The kind of a frame, by sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Worker: it is confined and ready. Its base in bytes, then a line for each thing that the kernel lacks.
    Ready = 1,
    /// Service: the length of the head as four bytes, the head, the body.
    Request,
    /// Worker: the memory that it needs for the request, in bytes.
    Need,
    /// Service: the memory is granted.
    Granted,
    /// Service: the memory is refused.
    Refused,
    /// Worker: what the job returned.
    Answer,
    /// Worker: the job panicked, with this message.
    Panicked,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Ready,
            Self::Request,
            Self::Need,
            Self::Granted,
            Self::Refused,
            Self::Answer,
            Self::Panicked,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }
}

/// Bytes before a frame's content.
pub(crate) const HEADER: usize = 9;

/// A frame's first bytes.
pub(crate) fn header(kind: Kind, length: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[0] = kind as u8;
    header[1..].copy_from_slice(&(length as u64).to_le_bytes());
    header
}

/// Kind and length of a frame, by its first bytes. Fails if the length is above `longest`.
pub(crate) fn parse(header: [u8; HEADER], longest: u64) -> io::Result<(Kind, usize)> {
    let [kind, length @ ..] = header;
    let length = u64::from_le_bytes(length);
    let kind = Kind::from_byte(kind).filter(|_| length <= longest);
    kind.map(|kind| (kind, length as usize))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a frame"))
}

/// Writes a frame of these parts, with one system call if the socket takes all of it.
pub(crate) fn write(mut to: impl Write, kind: Kind, parts: &[&[u8]]) -> io::Result<()> {
    let header = header(kind, parts.iter().map(|part| part.len()).sum());
    let mut slices: Vec<IoSlice<'_>> = std::iter::once(&header[..])
        .chain(parts.iter().copied())
        .map(IoSlice::new)
        .collect();
    let mut left = &mut slices[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match to.write_vectored(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut left, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads a frame into `to`, whose memory is used again for the next. `None` if the other side has closed the socket.
pub(crate) fn read(mut from: impl Read, to: &mut Vec<u8>) -> io::Result<Option<Kind>> {
    let mut header = [0; HEADER];
    match from.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let (kind, length) = parse(header, u64::MAX)?;
    to.clear();
    to.reserve_exact(length);
    from.take(length as u64).read_to_end(to)?;
    Ok((to.len() == length).then_some(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut wire = Vec::new();
        write(&mut wire, Kind::Request, &[b"ab", b"", b"cde"]).unwrap();
        write(&mut wire, Kind::Granted, &[]).unwrap();
        let (mut from, mut bytes) = (&wire[..], Vec::new());
        assert_eq!(read(&mut from, &mut bytes).unwrap(), Some(Kind::Request));
        assert_eq!(bytes, b"abcde");
        assert_eq!(read(&mut from, &mut bytes).unwrap(), Some(Kind::Granted));
        assert_eq!(read(&mut from, &mut bytes).unwrap(), None);
    }

    #[test]
    fn a_lying_length_is_refused_before_memory_is_taken() {
        assert!(parse(header(Kind::Answer, 1001), 1000).is_err());
        assert!(parse([9; HEADER], u64::MAX).is_err());
        assert_eq!(
            parse(header(Kind::Answer, 1000), 1000).unwrap(),
            (Kind::Answer, 1000)
        );
    }
}
