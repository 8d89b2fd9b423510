//! Where in a record the wanted columns are: their paths as one tree, walked alongside the record.

use std::collections::HashMap;

/// The tree. Node 0 is the record itself.
pub(super) struct Paths {
    nodes: Vec<Node>,
    /// For each wanted column, its slot.
    slot_of: Vec<usize>,
    slots: usize,
}

#[derive(Default)]
struct Node {
    children: HashMap<String, usize>,
    slot: Option<usize>,
    /// Names from the record to here.
    path: Vec<String>,
}

impl Paths {
    /// The tree of these paths, one per wanted column; columns with the same path share a slot.
    pub(super) fn new(paths: impl Iterator<Item = Vec<String>>) -> Self {
        let mut tree = Self { nodes: vec![Node::default()], slot_of: Vec::new(), slots: 0 };
        for path in paths {
            let node = path.into_iter().fold(0, |node, name| tree.grow(node, name));
            let slot = tree.slot_at(node);
            tree.slot_of.push(slot);
        }
        tree
    }

    fn grow(&mut self, node: usize, name: String) -> usize {
        if let Some(child) = self.child(node, &name) {
            return child;
        }
        let child = self.nodes.len();
        let above = self.nodes.get(node).map_or(&[][..], |parent| &parent.path);
        let path = above.iter().chain([&name]).cloned().collect();
        self.nodes.push(Node { path, ..Node::default() });
        if let Some(parent) = self.nodes.get_mut(node) {
            parent.children.insert(name, child);
        }
        child
    }

    fn slot_at(&mut self, node: usize) -> usize {
        let next = self.slots;
        let Some(node) = self.nodes.get_mut(node) else { return next };
        *node.slot.get_or_insert_with(|| {
            self.slots += 1;
            next
        })
    }

    /// The child of `node` with this name, if a wanted path goes there.
    pub(super) fn child(&self, node: usize, name: &str) -> Option<usize> {
        self.nodes.get(node)?.children.get(name).copied()
    }

    /// Whether wanted paths go on below `node`.
    pub(super) fn has_children(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|n| !n.children.is_empty())
    }

    /// The slot of `node`, if a wanted path ends there.
    pub(super) fn slot(&self, node: usize) -> Option<usize> {
        self.nodes.get(node)?.slot
    }

    /// Names from the record to `node`.
    pub(super) fn path(&self, node: usize) -> &[String] {
        self.nodes.get(node).map_or(&[], |node| &node.path)
    }

    /// Whether what else lies in `node` is of interest: paths go on inside it, and none takes it as a whole.
    pub(super) fn is_entered(&self, node: usize) -> bool {
        (node == 0 || self.has_children(node)) && self.slot(node).is_none()
    }

    /// How many slots there are.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// For each wanted column, its slot.
    pub(super) fn slot_of(&self) -> &[usize] {
        &self.slot_of
    }
}
