//! stub until ready
/// t
pub struct Template;
/// e
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ParseError;
impl Template {
    /// p
    pub fn parse(_s: &str) -> Result<Template, ParseError> {
        Ok(Template)
    }
    /// d
    pub fn doubts(&self) -> Vec<String> {
        vec![]
    }
}
