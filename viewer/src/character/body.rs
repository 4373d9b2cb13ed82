//! What the page draws a character from: its points, and which of them hang together.
//!
//! Promises that a [`Body`] is a tree whose parents come before their children.

use serde::Serialize;

/// Most points that a body may have.
const MAX_POINTS: usize = 1024;

/// The points of a character, joints and tips, in the order of every frame's `points`.
///
/// The page shapes the limbs by the names of the joints (`LeftForeArm`, `Spine1`), and draws plain
/// bones where it does not know them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Body {
    points: Vec<BodyPoint>,
    contacts: [usize; 4],
    /// What the character can be asked to perform, by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<String>,
}

/// A joint, or a tip: a point without children that ends a limb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BodyPoint {
    /// Name of the joint; a tip has none.
    pub name: Option<String>,
    /// Index of the point that it hangs on; none for the root alone.
    pub parent: Option<usize>,
}

impl Body {
    /// Puts a body together. `contacts` are the points where left heel, left toes, right heel and
    /// right toes touch the floor.
    ///
    /// # Errors
    /// No point or too many, a point other than the first without a parent before it, a contact
    /// that is no point.
    pub fn new(points: Vec<BodyPoint>, contacts: [usize; 4]) -> Result<Self, BodyError> {
        let count = points.len();
        if !(1..=MAX_POINTS).contains(&count) {
            return Err(BodyError::Count { found: count });
        }
        for (index, point) in points.iter().enumerate() {
            let rooted = match point.parent {
                None => index == 0,
                Some(parent) => parent < index,
            };
            if !rooted {
                return Err(BodyError::Parent {
                    index,
                    found: point.parent,
                });
            }
        }
        if let Some(found) = contacts.into_iter().find(|contact| *contact >= count) {
            return Err(BodyError::Contact { found, count });
        }
        Ok(Self {
            points,
            contacts,
            actions: Vec::new(),
        })
    }

    /// The same with what the character can perform; the page has a button for each.
    #[must_use]
    pub fn with_actions(mut self, actions: Vec<String>) -> Self {
        self.actions = actions;
        self
    }

    /// Number of points that a frame must have.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    /// Never: a body has a root.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }
}

/// Why points are no body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// None, or too many.
    #[error("body: expected 1 to {MAX_POINTS} points, found {found}")]
    Count {
        /// How many there are.
        found: usize,
    },
    /// Not a tree with the root first.
    #[error(
        "body: point {index}: expected a parent before it (none for point 0 alone), found {found:?}"
    )]
    Parent {
        /// Which point.
        index: usize,
        /// Its parent.
        found: Option<usize>,
    },
    /// A contact at a point that is not there.
    #[error("body: contacts: expected indices of the {count} points, found {found}")]
    Contact {
        /// The index.
        found: usize,
        /// How many points there are.
        count: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(name: &str, parent: Option<usize>) -> BodyPoint {
        BodyPoint {
            name: (!name.is_empty()).then(|| name.to_owned()),
            parent,
        }
    }

    #[test]
    fn json_has_the_names_that_the_page_reads() {
        let points = vec![
            point("Hips", None),
            point("Spine", Some(0)),
            point("", Some(1)),
        ];
        let body = Body::new(points, [0, 1, 2, 2]).unwrap();
        assert_eq!(body.len(), 3);
        assert_eq!(
            serde_json::to_value(&body).unwrap(),
            serde_json::json!({
                "points": [
                    {"name": "Hips", "parent": null},
                    {"name": "Spine", "parent": 0},
                    {"name": null, "parent": 1},
                ],
                "contacts": [0, 1, 2, 2],
            })
        );
    }

    #[test]
    fn what_is_no_tree_is_refused_by_name() {
        let refused = |points: Vec<BodyPoint>, contacts: [usize; 4]| {
            Body::new(points, contacts).unwrap_err().to_string()
        };
        assert!(refused(vec![], [0; 4]).contains("found 0"));
        let root = || point("Hips", None);
        let own = vec![root(), point("Spine", Some(1))];
        assert!(refused(own, [0; 4]).contains("point 1: expected a parent before it"));
        assert!(refused(vec![root(), root()], [0; 4]).contains("found None"));
        assert!(refused(vec![point("Hips", Some(0))], [0; 4]).contains("point 0"));
        assert!(refused(vec![root()], [0, 0, 0, 1]).contains("the 1 points, found 1"));
    }
}
