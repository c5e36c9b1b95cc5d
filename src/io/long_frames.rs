//! Heads of frames that were too long to be sent.

/// Bytes kept of a frame. An ICMP error quotes at least the headers and eight bytes (RFC 792); RFC 4443 section 2.4 asks
/// for more, up to 1,280 bytes, which senders do not need.
///
/// The longest headers of a packet that is parsed have 338 bytes: Ethernet's with two tags, IPv6's, extension headers of
/// 256 bytes, and TCP's without options.
pub const HEAD_MAX: usize = 384;
/// Most frames of a batch: they are answered, at a limited rate.
const FRAMES_MAX: usize = 16;

/// Beginning of a frame.
#[derive(Clone, Debug)]
pub struct FrameHead {
    bytes: [u8; HEAD_MAX],
    len: usize,
}

/// Frames of a batch that were too long for the interface that they should have left by.
#[derive(Debug)]
pub struct LongFrames(Vec<(usize, FrameHead)>);

impl FrameHead {
    /// Copies the head of `frame`.
    #[must_use]
    pub fn of(frame: &[u8]) -> Self {
        let len = frame.len().min(HEAD_MAX);
        let mut bytes = [0; HEAD_MAX];
        bytes[..len].copy_from_slice(&frame[..len]);
        Self { bytes, len }
    }

    /// The first bytes of the frame, from the Ethernet header on.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// The same, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Default for LongFrames {
    fn default() -> Self {
        Self(Vec::with_capacity(FRAMES_MAX))
    }
}

impl LongFrames {
    /// Keeps the head of frame `index` of a batch, unless there are many already.
    #[cold]
    pub(super) fn keep(&mut self, index: usize, frame: &[u8]) {
        if self.0.len() < FRAMES_MAX {
            self.0.push((index, FrameHead::of(frame)));
        }
    }

    /// Removes all: the index of each in its batch, and its head.
    pub fn take(&mut self) -> impl Iterator<Item = (usize, FrameHead)> {
        self.0.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frames_are_kept_by_their_heads() {
        let mut long = LongFrames::default();
        (0..FRAMES_MAX + 3).for_each(|n| long.keep(n, &[n as u8; 400]));
        let kept: Vec<_> = long.take().collect();
        assert_eq!(kept.len(), FRAMES_MAX);
        assert!(kept.iter().all(|(index, head)| head.bytes() == [*index as u8; HEAD_MAX]));
        long.keep(7, b"short");
        assert_eq!(long.take().next().unwrap().1.bytes(), b"short");
    }
}
