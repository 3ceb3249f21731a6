//! What a worker says of an image: one piece of bytes. The length of a JSON as four bytes, the JSON, then the tensor and the
//! thumbnail as they are.

use crate::recipe::{Made, Took};
use serde::{Deserialize, Serialize};
use sightline_stream::Rejection;

/// What goes before the bytes.
#[derive(Debug, Serialize, Deserialize)]
enum Head {
    Made {
        shape: [usize; 3],
        pixels: usize,
        thumbnail: usize,
        took: Took,
    },
    Rejected {
        reason: String,
        error: String,
    },
}

/// The parts, in their order.
pub(crate) fn encode(made: Result<Made, Rejection>) -> Vec<Vec<u8>> {
    let (head, bodies) = match made {
        Ok(made) => {
            let head = Head::Made {
                shape: made.shape,
                pixels: made.pixels.len(),
                thumbnail: made.thumbnail.len(),
                took: made.took,
            };
            (head, vec![made.pixels, made.thumbnail])
        }
        Err(Rejection { reason, error }) => {
            let reason = reason.as_str().to_owned();
            (Head::Rejected { reason, error }, Vec::new())
        }
    };
    let json = serde_json::to_vec(&head).expect("strings and numbers are JSON");
    let length = (json.len() as u32).to_le_bytes().to_vec();
    [vec![length, json], bodies].concat()
}

/// None for bytes that no worker writes which does what it should.
pub(crate) fn decode(answer: &[u8]) -> Option<Result<Made, Rejection>> {
    let (length, rest) = answer.split_first_chunk::<4>()?;
    let (json, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some(match serde_json::from_slice(json).ok()? {
        Head::Made {
            shape,
            pixels,
            thumbnail,
            took,
        } => {
            let (pixels, rest) = rest.split_at_checked(pixels)?;
            if rest.len() != thumbnail {
                return None;
            }
            Ok(Made {
                shape,
                pixels: pixels.to_vec(),
                thumbnail: rest.to_vec(),
                took,
            })
        }
        Head::Rejected { reason, error } => {
            let reason = reason.parse().ok()?;
            Err(Rejection { reason, error })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_contracts::Reason;
    use std::time::Duration;

    fn made() -> Made {
        Made {
            shape: [3, 1, 2],
            pixels: vec![1, 2, 3, 4, 5, 6],
            thumbnail: vec![9; 4],
            took: Took {
                decode: Duration::from_micros(7),
                ..Took::default()
            },
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(
            decode(&encode(Ok(made())).concat()).unwrap().unwrap(),
            made()
        );
        let rejection = Rejection {
            reason: Reason::Corrupt,
            error: "a damaged PNG".into(),
        };
        let answer = encode(Err(rejection.clone())).concat();
        assert_eq!(decode(&answer).unwrap().unwrap_err(), rejection);
    }

    #[test]
    fn a_piece_of_it_is_nothing() {
        let whole = encode(Ok(made())).concat();
        for end in 0..whole.len() {
            assert!(decode(&whole[..end]).is_none(), "{end}");
        }
        assert!(decode(&[&whole[..], b"!"].concat()).is_none());
    }
}
