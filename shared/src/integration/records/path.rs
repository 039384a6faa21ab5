//! Where the records of a body are.

/// The segment that matches every element of an array.
const EVERY_ELEMENT: &str = "*";

/// A compiled `response_path`: dotted, `*` over arrays.
///
/// A segment names a member of an object, or, in an array, an element by its
/// index from 0 or every element (`*`): `data`, `data.edges.*.node`, `0.rows`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponsePath {
    segments: Vec<Segment>,
}

/// One step from a container to what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    name: String,
    elements: Elements,
}

/// Which elements of an array a segment matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Elements {
    None,
    At(u64),
    Every,
}

impl ResponsePath {
    /// # Errors
    /// When a segment is empty.
    pub fn parse(text: &str) -> Result<Self, String> {
        let segments: Vec<Segment> = text.trim().split('.').map(Segment::parse).collect();
        if segments.iter().any(|segment| segment.name.is_empty()) {
            return Err(format!(
                "`{text}` has an empty part: write a path such as `data.orders` or `edges.*.node`"
            ));
        }
        Ok(Self { segments })
    }

    /// The member `name` of the root object, whatever characters it has.
    pub(super) fn member(name: String) -> Self {
        Self {
            segments: vec![Segment {
                name,
                elements: Elements::None,
            }],
        }
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

impl std::fmt::Display for ResponsePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (i, segment) in self.segments.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            f.write_str(&segment.name)?;
        }
        Ok(())
    }
}

impl Segment {
    fn parse(text: &str) -> Self {
        let elements = if text == EVERY_ELEMENT {
            Elements::Every
        } else {
            text.parse().map_or(Elements::None, Elements::At)
        };
        Self {
            name: text.to_owned(),
            elements,
        }
    }

    pub(super) fn is_key(&self, name: &str) -> bool {
        self.name == name
    }

    pub(super) fn is_element(&self, index: u64) -> bool {
        match self.elements {
            Elements::None => false,
            Elements::At(at) => at == index,
            Elements::Every => true,
        }
    }

    pub(super) fn is_every_element(&self) -> bool {
        self.elements == Elements::Every
    }
}
