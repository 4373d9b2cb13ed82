//! Candidate pairs of colliders (broad phase), in the order in which Chipmunk visits them.
//!
//! The order decides in which order contacts are solved, hence the result to the last bits. It
//! follows from two bounding-volume trees, one of static and one of moving colliders, from the
//! history of their rebuilding, and from the pairs remembered while nothing leaves its
//! fattened bounds. A leaf's remembered pairs are visited newest first, which one list in
//! order of insertion yields for all leaves.

use super::bounds::Bounds;
use super::vector::Vector;

/// Two colliders whose fattened bounds overlap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) first: usize,
    pub(super) second: usize,
    /// Index of the remembered pair, which keeps the narrow phase's guess.
    pub(super) pair: Option<usize>,
}

/// The trees of static and of moving colliders.
#[derive(Clone, Debug, Default)]
pub(super) struct BroadPhase {
    nodes: Vec<Node>,
    free: Vec<usize>,
    static_root: Option<usize>,
    moving_root: Option<usize>,
    /// Leaves of moving colliders in the order in which they are updated.
    moving_leaves: Vec<usize>,
    pairs: Vec<Pair>,
    stamp: u64,
}

#[derive(Clone, Debug)]
struct Node {
    bounds: Bounds,
    parent: Option<usize>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Branch { a: usize, b: usize },
    Leaf { collider: usize, stamp: u64 },
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    a: usize,
    b: usize,
    guess: u32,
}

/// Initial size of Chipmunk's hash table of leaves, whose bins give the order of updates. The
/// scene has too few moving colliders for the table to grow.
const LEAF_TABLE_SIZE: usize = 5;

impl BroadPhase {
    /// Adds a collider that never moves. All of them precede the moving ones.
    pub(super) fn insert_static(&mut self, collider: usize, bounds: Bounds) {
        let leaf = self.new_leaf(collider, bounds);
        self.static_root = Some(self.subtree_insert(self.static_root, leaf));
        self.stamp += 1;
    }

    /// Adds a moving collider.
    pub(super) fn insert_moving(&mut self, collider: usize, bounds: Bounds, velocity: Vector) {
        let leaf = self.new_leaf(collider, bounds.fattened(velocity));
        self.moving_root = Some(self.subtree_insert(self.moving_root, leaf));
        self.moving_leaves.push(leaf);
        let nodes = &self.nodes;
        self.moving_leaves
            .sort_by_key(|&leaf| nodes[leaf].collider().unwrap_or(0) % LEAF_TABLE_SIZE);
        // The pairs found now are remembered, not reported.
        self.mark_leaf(leaf, &mut Vec::new());
        self.stamp += 1;
    }

    /// Reinserts the colliders that left their fattened bounds, then writes the candidates to
    /// `candidates`. `bounds_of` gives a moving collider's bounds and velocity.
    pub(super) fn find_candidates(
        &mut self,
        bounds_of: impl Fn(usize) -> (Bounds, Vector),
        candidates: &mut Vec<Candidate>,
    ) {
        candidates.clear();
        for index in 0..self.moving_leaves.len() {
            let leaf = self.moving_leaves[index];
            let Some(collider) = self.nodes[leaf].collider() else {
                continue;
            };
            let (bounds, velocity) = bounds_of(collider);
            if !self.nodes[leaf].bounds.contains(&bounds) {
                self.reinsert(leaf, collider, bounds.fattened(velocity));
            }
        }
        if let Some(root) = self.moving_root {
            self.mark_subtree(root, candidates);
        }
        self.stamp += 1;
    }

    /// The guess kept with a candidate's pair.
    pub(super) fn guess(&self, candidate: &Candidate) -> u32 {
        candidate.pair.map_or(0, |pair| self.pairs[pair].guess)
    }

    /// Keeps the narrow phase's guess with a candidate's pair. To be called before the next
    /// [`BroadPhase::find_candidates`].
    pub(super) fn keep_guess(&mut self, candidate: &Candidate, guess: u32) {
        if let Some(pair) = candidate.pair {
            self.pairs[pair].guess = guess;
        }
    }

    fn new_node(&mut self, node: Node) -> usize {
        if let Some(index) = self.free.pop() {
            self.nodes[index] = node;
            index
        } else {
            self.nodes.push(node);
            self.nodes.len() - 1
        }
    }

    fn new_leaf(&mut self, collider: usize, bounds: Bounds) -> usize {
        self.new_node(Node {
            bounds,
            parent: None,
            kind: Kind::Leaf {
                collider,
                stamp: self.stamp,
            },
        })
    }

    fn reinsert(&mut self, leaf: usize, collider: usize, bounds: Bounds) {
        self.nodes[leaf].bounds = bounds;
        let root = self.subtree_remove(self.moving_root, leaf);
        self.moving_root = Some(self.subtree_insert(root, leaf));
        self.pairs.retain(|pair| pair.a != leaf && pair.b != leaf);
        self.nodes[leaf].kind = Kind::Leaf {
            collider,
            stamp: self.stamp,
        };
    }

    /// Inserts `leaf` where it enlarges the boxes least; returns the subtree's new root.
    fn subtree_insert(&mut self, subtree: Option<usize>, leaf: usize) -> usize {
        let Some(subtree) = subtree else {
            return leaf;
        };
        let leaf_bounds = self.nodes[leaf].bounds;
        let Kind::Branch { a, b } = self.nodes[subtree].kind else {
            let bounds = leaf_bounds.merged(&self.nodes[subtree].bounds);
            let branch = self.new_node(Node {
                bounds,
                parent: None,
                kind: Kind::Branch {
                    a: leaf,
                    b: subtree,
                },
            });
            self.nodes[leaf].parent = Some(branch);
            self.nodes[subtree].parent = Some(branch);
            return branch;
        };
        let (bounds_a, bounds_b) = (self.nodes[a].bounds, self.nodes[b].bounds);
        let mut cost_a = bounds_b.area() + bounds_a.merged_area(&leaf_bounds);
        let mut cost_b = bounds_a.area() + bounds_b.merged_area(&leaf_bounds);
        if cost_a == cost_b {
            cost_a = bounds_a.proximity(&leaf_bounds);
            cost_b = bounds_b.proximity(&leaf_bounds);
        }
        let (a, b) = if cost_b < cost_a {
            (a, self.subtree_insert(Some(b), leaf))
        } else {
            (self.subtree_insert(Some(a), leaf), b)
        };
        self.nodes[a].parent = Some(subtree);
        self.nodes[b].parent = Some(subtree);
        let node = &mut self.nodes[subtree];
        node.kind = Kind::Branch { a, b };
        node.bounds = node.bounds.merged(&leaf_bounds);
        subtree
    }

    /// Takes `leaf` out of the tree; returns the tree's new root.
    fn subtree_remove(&mut self, root: Option<usize>, leaf: usize) -> Option<usize> {
        let parent = self.nodes[leaf].parent?;
        let Kind::Branch { a, b } = self.nodes[parent].kind else {
            return root;
        };
        let sibling = if a == leaf { b } else { a };
        let grandparent = self.nodes[parent].parent;
        self.nodes[sibling].parent = grandparent;
        self.nodes[leaf].parent = None;
        self.free.push(parent);
        let Some(grandparent) = grandparent else {
            return Some(sibling);
        };
        if let Kind::Branch { a, b } = &mut self.nodes[grandparent].kind {
            if *a == parent {
                *a = sibling;
            } else {
                *b = sibling;
            }
        }
        let mut ancestor = Some(grandparent);
        while let Some(index) = ancestor {
            if let Kind::Branch { a, b } = self.nodes[index].kind {
                self.nodes[index].bounds = self.nodes[a].bounds.merged(&self.nodes[b].bounds);
            }
            ancestor = self.nodes[index].parent;
        }
        root
    }

    fn mark_subtree(&mut self, node: usize, candidates: &mut Vec<Candidate>) {
        if let Kind::Branch { a, b } = self.nodes[node].kind {
            self.mark_subtree(a, candidates);
            self.mark_subtree(b, candidates);
        } else {
            self.mark_leaf(node, candidates);
        }
    }

    fn mark_leaf(&mut self, leaf: usize, candidates: &mut Vec<Candidate>) {
        let Kind::Leaf { collider, stamp } = self.nodes[leaf].kind else {
            return;
        };
        if stamp == self.stamp {
            // Reinserted in this step: search both trees.
            if let Some(root) = self.static_root {
                self.mark_query(root, leaf, false, candidates);
            }
            let mut node = leaf;
            while let Some(parent) = self.nodes[node].parent {
                if let Kind::Branch { a, b } = self.nodes[parent].kind {
                    if node == a {
                        self.mark_query(b, leaf, true, candidates);
                    } else {
                        self.mark_query(a, leaf, false, candidates);
                    }
                }
                node = parent;
            }
        } else {
            for (index, pair) in self.pairs.iter().enumerate().rev() {
                if pair.b == leaf
                    && let Some(first) = self.nodes[pair.a].collider()
                {
                    candidates.push(Candidate {
                        first,
                        second: collider,
                        pair: Some(index),
                    });
                }
            }
        }
    }

    /// Visits the leaves below `subtree` that `leaf` overlaps. Those to its left are only
    /// remembered: they report the pair themselves when their turn comes.
    fn mark_query(
        &mut self,
        subtree: usize,
        leaf: usize,
        left: bool,
        candidates: &mut Vec<Candidate>,
    ) {
        if !self.nodes[leaf]
            .bounds
            .intersects(&self.nodes[subtree].bounds)
        {
            return;
        }
        match self.nodes[subtree].kind {
            Kind::Branch { a, b } => {
                self.mark_query(a, leaf, left, candidates);
                self.mark_query(b, leaf, left, candidates);
            }
            Kind::Leaf { .. } if left => self.remember(leaf, subtree),
            Kind::Leaf {
                collider: other,
                stamp: other_stamp,
            } => {
                let Kind::Leaf { collider, stamp } = self.nodes[leaf].kind else {
                    return;
                };
                if other_stamp < stamp {
                    self.remember(subtree, leaf);
                }
                candidates.push(Candidate {
                    first: collider,
                    second: other,
                    pair: None,
                });
            }
        }
    }

    fn remember(&mut self, a: usize, b: usize) {
        self.pairs.push(Pair { a, b, guess: 0 });
    }
}

impl Node {
    fn collider(&self) -> Option<usize> {
        match self.kind {
            Kind::Leaf { collider, .. } => Some(collider),
            Kind::Branch { .. } => None,
        }
    }
}
