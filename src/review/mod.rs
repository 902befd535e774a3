//! `AdmissionReview` and `ConversionReview` on the wire (admission.k8s.io/v1, apiextensions.k8s.io/v1).
//!
//! The few lines are our own: the types of kube-core answer a bad object with an empty uid, a patch as a list of
//! numbers, and no code.

pub mod admission;
pub mod conversion;

/// An answer in terms of HTTP, whoever carries it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// HTTP status code.
    pub status: u16,
    /// Whether the caller should come again in a second: the API server does, within its time limit.
    pub retry: bool,
    /// The body: JSON for 200, else a sentence.
    pub body: Vec<u8>,
}

impl Reply {
    /// 200 with a review.
    #[must_use]
    pub fn review(body: Vec<u8>) -> Reply {
        Reply {
            status: 200,
            retry: false,
            body,
        }
    }

    /// Another status with a sentence.
    #[must_use]
    pub fn refusal(status: u16, sentence: impl Into<String>) -> Reply {
        let mut body = sentence.into();
        body.push('\n');
        Reply {
            status,
            retry: false,
            body: body.into_bytes(),
        }
    }

    /// 503 with `Retry-After: 1`.
    #[must_use]
    pub fn come_again(sentence: impl Into<String>) -> Reply {
        Reply {
            retry: true,
            ..Reply::refusal(503, sentence)
        }
    }
}
