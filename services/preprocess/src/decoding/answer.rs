//! The format of a decoder's answer: the length of a JSON object as a little-endian u32, the object, the tensor, the
//! thumbnail.

use crate::recipe::{Made, Took};
use bytes::{Buf as _, Bytes};
use serde::{Deserialize, Serialize};
use sightline_stream::Rejection;

/// The JSON object. `pixels` and `thumbnail` are lengths in bytes.
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

/// The answer in parts, to be concatenated in this order.
pub(crate) fn encode(made: Result<Made, Rejection>) -> Vec<Bytes> {
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
    let length = (json.len() as u32).to_le_bytes();
    let head = [Bytes::copy_from_slice(&length), json.into()];
    head.into_iter().chain(bodies).collect()
}

/// Reads an answer; `None` if its format is wrong. The pixels and the thumbnail refer to `answer` and are not copied.
pub(crate) fn decode(mut answer: Bytes) -> Option<Result<Made, Rejection>> {
    let length = answer.try_get_u32_le().ok()?;
    let json = split(&mut answer, length as usize)?;
    Some(match serde_json::from_slice(&json).ok()? {
        Head::Made {
            shape,
            pixels,
            thumbnail,
            took,
        } => {
            let pixels = split(&mut answer, pixels)?;
            (answer.len() == thumbnail).then_some(Ok(Made {
                shape,
                pixels,
                thumbnail: answer,
                took,
            }))?
        }
        Head::Rejected { reason, error } => {
            let reason = reason.parse().ok()?;
            Err(Rejection { reason, error })
        }
    })
}

fn split(answer: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= answer.len()).then(|| answer.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_contracts::Reason;
    use std::time::Duration;

    fn made() -> Made {
        Made {
            shape: [3, 1, 2],
            pixels: vec![1, 2, 3, 4, 5, 6].into(),
            thumbnail: vec![9; 4].into(),
            took: Took {
                decode: Duration::from_micros(7),
                ..Took::default()
            },
        }
    }

    #[test]
    fn answers_read_back() {
        assert_eq!(
            decode(encode(Ok(made())).concat().into()).unwrap().unwrap(),
            made()
        );
        let rejection = Rejection {
            reason: Reason::Corrupt,
            error: "a damaged PNG".into(),
        };
        let answer = encode(Err(rejection.clone())).concat().into();
        assert_eq!(decode(answer).unwrap().unwrap_err(), rejection);
    }

    #[test]
    fn an_answer_of_another_length_is_refused() {
        let whole = Bytes::from(encode(Ok(made())).concat());
        for end in 0..whole.len() {
            assert!(decode(whole.slice(..end)).is_none(), "{end}");
        }
        assert!(decode([&whole[..], b"!"].concat().into()).is_none());
    }
}
