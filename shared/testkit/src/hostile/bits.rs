//! Bits into bytes, the lowest first: how lossless WebP is written.

#[derive(Default)]
pub(crate) struct Bits {
    bytes: Vec<u8>,
    count: usize,
}

impl Bits {
    /// The lowest `count` bits of `value`, at most 32.
    pub fn put(&mut self, value: u32, count: u32) {
        for bit in 0..count {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.len() - 1;
            self.bytes[last] |= ((value >> bit & 1) as u8) << (self.count % 8);
            self.count += 1;
        }
    }

    pub fn extend(&mut self, bits: &[(u32, u32)]) {
        bits.iter()
            .for_each(|&(value, count)| self.put(value, count));
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
