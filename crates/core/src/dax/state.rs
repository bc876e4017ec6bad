//! What is known of a region: which pages are translated to what, and which are dirty.
//!
//! A region is 2 MiB of a file, aligned. Its *slot* says what translations of it may exist in any
//! window. It may name too many (a translation that was taken away since), never too few: from the
//! slot follows which translations of zeros must go when a block appears, and what a sync must flush.
//!
//! There is one size of entry. A page fault and a 2 MiB fault of the same place meet at the same
//! entry, so nobody waits on the wrong key, and an entry never changes its kind under a waiter's feet
//! in a way that he would have to notice.
//!
//! What an event does to a slot stands in one table, [`RULES`]. The fault path and invalidation read
//! it; neither has branches on what it found. In the table a slot is a *shape*; the sets of pages
//! follow from the shape that the rule names. Reading the rows:
//!
//! * A page fault on a region of zeros splits it, on a whole block uses it.
//! * A 2 MiB fault over pages falls back to pages: 512 of them, but no promise that they are one
//!   translation.
//! * A block over zeros makes the zeros stale: they must be revoked from every window before the
//!   block is published. An absent slot is no conflict: a 2 MiB fault on it is a huge one.
//! * Zeros over a block cannot follow from a right block map. If it does, the map is right and the
//!   block's translations are stale.

use super::bits::Bits512;

/// What is known of a region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Slot {
    /// No translation exists.
    #[default]
    Empty,
    /// The whole region was read as a hole.
    Zero,
    /// One block of 2 MiB, aligned.
    Huge {
        /// A store may have come since the last flush.
        dirty: bool,
    },
    /// Page by page.
    Pages(Box<Pages>),
}

/// A region page by page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pages {
    /// Pages that some window may translate to zeros.
    pub zero: Bits512,
    /// Pages that some window may translate to their block.
    pub present: Bits512,
    /// Pages with stores that may not be flushed. In marks mode every page with a writable
    /// translation is among them.
    pub dirty: Bits512,
}

/// The kind of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// [`Slot::Empty`]
    Empty,
    /// [`Slot::Zero`]
    Zero,
    /// [`Slot::Huge`]
    Huge,
    /// [`Slot::Pages`]
    Pages,
}

/// What happens to pages of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// They are about to be translated to zeros.
    Zero,
    /// They are about to be translated to their block.
    Map,
    /// They are about to be translated to their block, and their stores must be flushed.
    Dirty,
    /// All their translations go.
    Drop,
    /// Their stores are flushed, and no translation is writable.
    Clean,
}

/// What an event concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The region as a whole; for a block: 2 MiB in one piece, aligned.
    Region,
    /// Some pages.
    Pages,
}

/// Which translations of the event's pages an event makes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// None.
    Nothing,
    /// Those to zeros.
    Zeros,
    /// Those to blocks.
    Blocks,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The slot before.
    pub from: Shape,
    /// What happens.
    pub event: Event,
    /// To what.
    pub span: Span,
    /// The slot after. `Pages` with nothing in it is `Empty`.
    pub to: Shape,
    /// What must be revoked in all windows before the slot changes.
    pub stale: Stale,
}

const fn rule(from: Shape, event: Event, span: Span, to: Shape, stale: Stale) -> Rule {
    Rule { from, event, span, to, stale }
}

/// The transition table: one row for each shape, event and span.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    //   from          event         span          to            stale
    rule(Shape::Empty, Event::Zero,  Span::Region, Shape::Zero,  Stale::Nothing),
    rule(Shape::Empty, Event::Zero,  Span::Pages,  Shape::Pages, Stale::Nothing),
    rule(Shape::Empty, Event::Map,   Span::Region, Shape::Huge,  Stale::Nothing),
    rule(Shape::Empty, Event::Map,   Span::Pages,  Shape::Pages, Stale::Nothing),
    rule(Shape::Empty, Event::Dirty, Span::Region, Shape::Huge,  Stale::Nothing),
    rule(Shape::Empty, Event::Dirty, Span::Pages,  Shape::Pages, Stale::Nothing),
    rule(Shape::Empty, Event::Drop,  Span::Region, Shape::Empty, Stale::Nothing),
    rule(Shape::Empty, Event::Drop,  Span::Pages,  Shape::Empty, Stale::Nothing),
    rule(Shape::Empty, Event::Clean, Span::Region, Shape::Empty, Stale::Nothing),
    rule(Shape::Empty, Event::Clean, Span::Pages,  Shape::Empty, Stale::Nothing),

    rule(Shape::Zero,  Event::Zero,  Span::Region, Shape::Zero,  Stale::Nothing),
    rule(Shape::Zero,  Event::Zero,  Span::Pages,  Shape::Zero,  Stale::Nothing),
    rule(Shape::Zero,  Event::Map,   Span::Region, Shape::Huge,  Stale::Zeros),
    rule(Shape::Zero,  Event::Map,   Span::Pages,  Shape::Pages, Stale::Zeros),
    rule(Shape::Zero,  Event::Dirty, Span::Region, Shape::Huge,  Stale::Zeros),
    rule(Shape::Zero,  Event::Dirty, Span::Pages,  Shape::Pages, Stale::Zeros),
    rule(Shape::Zero,  Event::Drop,  Span::Region, Shape::Empty, Stale::Nothing),
    rule(Shape::Zero,  Event::Drop,  Span::Pages,  Shape::Pages, Stale::Nothing),
    rule(Shape::Zero,  Event::Clean, Span::Region, Shape::Zero,  Stale::Nothing),
    rule(Shape::Zero,  Event::Clean, Span::Pages,  Shape::Zero,  Stale::Nothing),

    rule(Shape::Huge,  Event::Zero,  Span::Region, Shape::Zero,  Stale::Blocks),
    rule(Shape::Huge,  Event::Zero,  Span::Pages,  Shape::Pages, Stale::Blocks),
    rule(Shape::Huge,  Event::Map,   Span::Region, Shape::Huge,  Stale::Nothing),
    rule(Shape::Huge,  Event::Map,   Span::Pages,  Shape::Huge,  Stale::Nothing),
    rule(Shape::Huge,  Event::Dirty, Span::Region, Shape::Huge,  Stale::Nothing),
    rule(Shape::Huge,  Event::Dirty, Span::Pages,  Shape::Huge,  Stale::Nothing),
    rule(Shape::Huge,  Event::Drop,  Span::Region, Shape::Empty, Stale::Nothing),
    rule(Shape::Huge,  Event::Drop,  Span::Pages,  Shape::Pages, Stale::Nothing),
    rule(Shape::Huge,  Event::Clean, Span::Region, Shape::Huge,  Stale::Nothing),
    rule(Shape::Huge,  Event::Clean, Span::Pages,  Shape::Pages, Stale::Nothing),

    rule(Shape::Pages, Event::Zero,  Span::Region, Shape::Pages, Stale::Blocks),
    rule(Shape::Pages, Event::Zero,  Span::Pages,  Shape::Pages, Stale::Blocks),
    rule(Shape::Pages, Event::Map,   Span::Region, Shape::Pages, Stale::Zeros),
    rule(Shape::Pages, Event::Map,   Span::Pages,  Shape::Pages, Stale::Zeros),
    rule(Shape::Pages, Event::Dirty, Span::Region, Shape::Pages, Stale::Zeros),
    rule(Shape::Pages, Event::Dirty, Span::Pages,  Shape::Pages, Stale::Zeros),
    rule(Shape::Pages, Event::Drop,  Span::Region, Shape::Empty, Stale::Nothing),
    rule(Shape::Pages, Event::Drop,  Span::Pages,  Shape::Pages, Stale::Nothing),
    rule(Shape::Pages, Event::Clean, Span::Region, Shape::Pages, Stale::Nothing),
    rule(Shape::Pages, Event::Clean, Span::Pages,  Shape::Pages, Stale::Nothing),
];

/// The row for what happens.
fn find(from: Shape, event: Event, span: Span) -> &'static Rule {
    RULES
        .iter()
        .find(|rule| rule.from == from && rule.event == event && rule.span == span)
        .expect("the table has a row for every shape, event and span")
}

impl Slot {
    /// The kind of the slot.
    pub fn shape(&self) -> Shape {
        match self {
            Self::Empty => Shape::Empty,
            Self::Zero => Shape::Zero,
            Self::Huge { .. } => Shape::Huge,
            Self::Pages(_) => Shape::Pages,
        }
    }

    /// The slot page by page.
    pub fn pages(&self) -> Pages {
        match self {
            Self::Empty => Pages::default(),
            Self::Zero => Pages { zero: Bits512::ALL, ..Pages::default() },
            Self::Huge { dirty } => Pages {
                present: Bits512::ALL,
                dirty: if *dirty { Bits512::ALL } else { Bits512::NONE },
                ..Pages::default()
            },
            Self::Pages(pages) => **pages,
        }
    }

    /// The pages with stores that may not be flushed.
    pub fn dirty(&self) -> Bits512 {
        self.pages().dirty
    }

    /// The pages whose translations must go, in every window, before `event` is applied.
    pub fn stale(&self, event: Event, span: Span, bits: &Bits512) -> Bits512 {
        let pages = self.pages();
        match find(self.shape(), event, span).stale {
            Stale::Nothing => Bits512::NONE,
            Stale::Zeros => pages.zero.common(bits),
            Stale::Blocks => pages.present.common(bits),
        }
    }

    /// Changes the slot as the table says.
    pub fn apply(&mut self, event: Event, span: Span, bits: &Bits512) {
        let dirty = event == Event::Dirty || (event != Event::Clean && !self.dirty().is_empty());
        *self = match find(self.shape(), event, span).to {
            Shape::Empty => Self::Empty,
            Shape::Zero => Self::Zero,
            Shape::Huge => Self::Huge { dirty },
            Shape::Pages => self.pages().after(event, bits),
        };
    }

    /// An error left it open what the pages are translated to: from now on they count as everything
    /// that they may be.
    pub fn suspect(&mut self, bits: &Bits512) {
        let pages = self.pages();
        *self = Self::Pages(Box::new(Pages {
            zero: pages.zero.with(bits),
            present: pages.present.with(bits),
            dirty: pages.dirty.with(bits),
        }));
    }
}

impl Pages {
    fn after(mut self, event: Event, bits: &Bits512) -> Slot {
        match event {
            Event::Zero => {
                self.zero = self.zero.with(bits);
                self.present = self.present.without(bits);
                self.dirty = self.dirty.without(bits);
            }
            Event::Map => {
                self.zero = self.zero.without(bits);
                self.present = self.present.with(bits);
            }
            Event::Dirty => {
                self.zero = self.zero.without(bits);
                self.present = self.present.with(bits);
                self.dirty = self.dirty.with(bits);
            }
            Event::Drop => {
                self.zero = self.zero.without(bits);
                self.present = self.present.without(bits);
                self.dirty = self.dirty.without(bits);
            }
            Event::Clean => self.dirty = self.dirty.without(bits),
        }
        if self == Self::default() { Slot::Empty } else { Slot::Pages(Box::new(self)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPES: [Shape; 4] = [Shape::Empty, Shape::Zero, Shape::Huge, Shape::Pages];
    const EVENTS: [Event; 5] = [Event::Zero, Event::Map, Event::Dirty, Event::Drop, Event::Clean];

    fn pages(zero: Bits512, present: Bits512, dirty: Bits512) -> Slot {
        Slot::Pages(Box::new(Pages { zero, present, dirty }))
    }

    fn samples() -> Vec<Slot> {
        vec![
            Slot::Empty,
            Slot::Zero,
            Slot::Huge { dirty: false },
            Slot::Huge { dirty: true },
            pages(Bits512::of(0..9), Bits512::of(9..20), Bits512::of(10..12)),
            pages(Bits512::of(0..512), Bits512::NONE, Bits512::NONE),
        ]
    }

    #[test]
    fn the_table_has_exactly_one_row_for_everything() {
        for from in SHAPES {
            for event in EVENTS {
                for span in [Span::Region, Span::Pages] {
                    let rows = RULES.iter().filter(|r| r.from == from && r.event == event && r.span == span);
                    assert_eq!(rows.count(), 1, "{from:?} {event:?} {span:?}");
                }
            }
        }
        assert_eq!(RULES.len(), SHAPES.len() * EVENTS.len() * 2);
    }

    /// The table against the meaning of the sets, for every slot, event and place.
    #[test]
    fn every_row_says_what_the_sets_mean() {
        for slot in samples() {
            for event in EVENTS {
                for (span, bits) in [
                    (Span::Region, Bits512::ALL),
                    (Span::Pages, Bits512::of(4..11)),
                    (Span::Pages, Bits512::of(100..200)),
                ] {
                    let before = slot.pages();
                    let stale = slot.stale(event, span, &bits);
                    let mut after = slot.clone();
                    after.apply(event, span, &bits);
                    let now = after.pages();
                    let case = format!("{slot:?} {event:?} {bits:?}");
                    match event {
                        Event::Zero => {
                            assert_eq!(stale, before.present.common(&bits), "{case}");
                            assert_eq!(now.zero.common(&bits), bits, "{case}");
                        }
                        Event::Map | Event::Dirty => {
                            assert_eq!(stale, before.zero.common(&bits), "{case}");
                            assert_eq!(now.present.common(&bits), bits, "{case}");
                            assert!(now.zero.common(&bits).is_empty(), "{case}");
                        }
                        Event::Drop => {
                            assert!(now.present.common(&bits).is_empty(), "{case}");
                            assert!(now.zero.common(&bits).is_empty(), "{case}");
                        }
                        Event::Clean => assert!(now.dirty.common(&bits).is_empty(), "{case}"),
                    }
                    if event == Event::Dirty {
                        assert_eq!(now.dirty.common(&bits), bits, "{case}");
                    }
                    // Nothing is forgotten beside the pages of the event.
                    let beside = Bits512::ALL.without(&bits);
                    for (old, new) in
                        [(before.zero, now.zero), (before.present, now.present), (before.dirty, now.dirty)]
                    {
                        assert!(old.common(&beside).without(&new).is_empty(), "{case}");
                    }
                }
            }
        }
    }

    #[test]
    fn i32_a_huge_fault_on_an_absent_entry_is_huge() {
        let mut slot = Slot::Empty;
        slot.apply(Event::Dirty, Span::Region, &Bits512::ALL);
        assert_eq!(slot, Slot::Huge { dirty: true });
    }

    #[test]
    fn i14_zero_pages_are_stale_under_a_huge_write_fault() {
        let mut slot = Slot::Empty;
        slot.apply(Event::Zero, Span::Pages, &Bits512::of(7..9));
        assert_eq!(slot.stale(Event::Dirty, Span::Region, &Bits512::ALL), Bits512::of(7..9));
        slot.apply(Event::Dirty, Span::Region, &Bits512::ALL);
        assert_eq!(slot, pages(Bits512::NONE, Bits512::ALL, Bits512::ALL));
    }

    #[test]
    fn what_an_error_leaves_open_counts_as_everything() {
        let mut slot = Slot::Zero;
        slot.suspect(&Bits512::of(1..3));
        assert_eq!(slot.dirty(), Bits512::of(1..3));
        assert_eq!(slot.stale(Event::Map, Span::Pages, &Bits512::of(1..3)), Bits512::of(1..3));
    }

    #[test]
    fn a_slot_with_nothing_in_it_is_empty() {
        let mut slot = Slot::Empty;
        slot.apply(Event::Map, Span::Pages, &Bits512::of(5..6));
        slot.apply(Event::Drop, Span::Pages, &Bits512::of(0..100));
        assert_eq!(slot, Slot::Empty);
    }
}
