//! Tables: columns with their sort keys and cells.

use ratatui::style::{Style, Stylize};
use ratatui::text::{Line, Span};
use std::ops::Range;

/// Alignment of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// A column of a table of `T`, besides the name of the row.
pub(super) struct Column<T> {
    pub(super) heading: &'static str,
    /// In cells of the terminal, without the space on its left.
    pub(super) width: usize,
    pub(super) side: Side,
    /// Sort key, largest first; `None`: not sortable.
    pub(super) key: Option<fn(&T) -> f64>,
    /// Text for a width in cells.
    pub(super) cell: fn(&T, usize) -> String,
    pub(super) style: fn(&T) -> Style,
}

impl<T> Column<T> {
    /// Makes a column of numbers.
    pub(super) fn number(
        heading: &'static str,
        width: usize,
        key: fn(&T) -> f64,
        cell: fn(&T, usize) -> String,
    ) -> Self {
        Self { heading, width, side: Side::Right, key: Some(key), cell, style: |_| Style::new() }
    }

    /// Makes a column of words, which is not sortable.
    pub(super) fn words(heading: &'static str, width: usize, cell: fn(&T, usize) -> String) -> Self {
        Self { heading, width, side: Side::Left, key: None, cell, style: |_| Style::new() }
    }

    fn span(&self, item: &T) -> Span<'static> {
        let text = aligned(&(self.cell)(item, self.width), self.width, self.side);
        Span::styled(format!(" {text}"), (self.style)(item))
    }
}

/// Column and direction of sorting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SortOrder {
    /// 0 for the name, else a column counted from 1.
    pub(super) column: usize,
    /// Reverses the default: the director's order for names, largest first for numbers.
    pub(super) reversed: bool,
}

impl SortOrder {
    /// Returns the next sortable column, after the last the name.
    pub(super) fn next<T>(self, columns: &[Column<T>]) -> Self {
        let later = columns.iter().enumerate().skip(self.column);
        let next = later.filter(|(_, column)| column.key.is_some()).map(|(index, _)| index + 1).next();
        Self { column: next.unwrap_or(0), reversed: false }
    }

    /// Sorts rows; the sort is stable.
    pub(super) fn arrange<T>(self, items: &mut [T], columns: &[Column<T>]) {
        let key = self.column.checked_sub(1).and_then(|index| columns.get(index)?.key);
        if let Some(key) = key {
            items.sort_by(|one, other| key(other).total_cmp(&key(one)));
        }
        if self.reversed {
            items.reverse();
        }
    }

    /// Returns the mark of a column heading, or a space.
    fn mark(self, column: usize) -> char {
        match (self.column == column, self.reversed == (column == 0)) {
            (false, _) => ' ',
            (true, true) => '▼',
            (true, false) => '▲',
        }
    }
}

/// Returns the leading columns that fit into `width` beside a name of `name` cells.
pub(super) fn fit_columns<T>(columns: Vec<Column<T>>, name: usize, width: usize) -> Vec<Column<T>> {
    let mut left = width.saturating_sub(name);
    let fits = |column: &Column<T>| {
        let fits = left > column.width;
        left = left.saturating_sub(column.width + 1);
        fits
    };
    columns.into_iter().take_while(fits).collect()
}

/// Renders the headings, with a mark at the sorted column.
pub(super) fn headings<T>(name: &str, width: usize, columns: &[Column<T>], sort: SortOrder) -> Line<'static> {
    let name = aligned(&format!(" {name}{}", sort.mark(0)), width, Side::Left);
    let heading = |(index, column): (usize, &Column<T>)| {
        let heading = format!("{}{}", sort.mark(index + 1), column.heading);
        let text = aligned(&heading, column.width + 1, column.side);
        // Between adjacent headings the mark alone would be ambiguous.
        let style = if sort.column == index + 1 { Style::new().underlined() } else { Style::new() };
        Span::styled(text, style)
    };
    let others = columns.iter().enumerate().map(heading);
    Line::from_iter(std::iter::once(Span::raw(name)).chain(others)).bold()
}

/// Renders a row: its name, cut or padded to `width`, and its cells.
pub(super) fn line<T>(name: &str, width: usize, item: &T, columns: &[Column<T>]) -> Line<'static> {
    let name = Span::raw(aligned(name, width, Side::Left));
    Line::from_iter(std::iter::once(name).chain(columns.iter().map(|column| column.span(item))))
}

/// Returns the visible part of `length` rows in `height`, with `selected` in the middle where possible.
pub(super) fn window(length: usize, selected: usize, height: usize) -> Range<usize> {
    let start = selected.saturating_sub(height / 2).min(length.saturating_sub(height));
    start..length.min(start.saturating_add(height))
}

/// Cuts or pads `text` to `width` cells; words are cut at the end, numbers at the start.
pub(super) fn aligned(text: &str, width: usize, side: Side) -> String {
    match side {
        Side::Left => format!("{:<width$}", cut_end(text, width)),
        Side::Right => format!("{:>width$}", cut_start(text, width)),
    }
}

/// Cuts `text` to `width` cells at the end.
pub(super) fn cut_end(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept = text.chars().take(width.saturating_sub(1));
    kept.chain((width > 0).then_some('…')).collect()
}

/// Cuts `text` to `width` cells at the start; addresses differ at their end.
pub(super) fn cut_start(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let kept = text.chars().skip(length - width.saturating_sub(1));
    (width > 0).then_some('…').into_iter().chain(kept).collect()
}

/// Wraps `text` between words into lines of at most `width` cells.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always one");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
            continue;
        }
        *line += if line.is_empty() { "" } else { " " };
        *line += word;
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> Vec<Column<(f64, f64)>> {
        vec![
            Column::number("First", 5, |item| item.0, |item, _| item.0.to_string()),
            Column::words("Words", 6, |_, _| "words and more".to_owned()),
            Column::number("Second", 6, |item| item.1, |item, _| item.1.to_string()),
        ]
    }

    fn sorted(sort: SortOrder) -> [(f64, f64); 3] {
        let mut items = [(1.0, 5.0), (2.0, 4.0), (2.0, 6.0)];
        sort.arrange(&mut items, &columns());
        items
    }

    #[test]
    fn sort_column_cycles_back_to_the_name() {
        let mut sort = SortOrder { column: 0, reversed: true };
        let mut passed = Vec::new();
        for _ in 0..3 {
            sort = sort.next(&columns());
            passed.push(sort.column);
            assert!(!sort.reversed);
        }
        assert_eq!(passed, [1, 3, 0]);
    }

    #[test]
    fn sort_is_stable_and_largest_first() {
        assert_eq!(sorted(SortOrder { column: 0, reversed: false }), [(1.0, 5.0), (2.0, 4.0), (2.0, 6.0)]);
        assert_eq!(sorted(SortOrder { column: 1, reversed: false }), [(2.0, 4.0), (2.0, 6.0), (1.0, 5.0)]);
        assert_eq!(sorted(SortOrder { column: 3, reversed: true }), [(2.0, 4.0), (1.0, 5.0), (2.0, 6.0)]);
    }

    #[test]
    fn headings_align_and_mark_the_order() {
        let by = |column, reversed| {
            headings("Name", 8, &columns(), SortOrder { column, reversed }).to_string().trim_end().to_owned()
        };
        assert_eq!(by(0, false), " Name▲   First Words  Second");
        assert_eq!(by(0, true), " Name▼   First Words  Second");
        assert_eq!(by(1, false), " Name   ▼First Words  Second");
        assert_eq!(by(3, true), " Name    First Words ▲Second");
        assert_eq!(line("a", 8, &(1.0, 2.5), &columns()).to_string(), "a            1 words…    2.5");
    }

    #[test]
    fn columns_beyond_the_width_are_left_out() {
        let count = |width| fit_columns(columns(), 8, width).len();
        assert_eq!([count(0), count(13), count(14), count(21), count(27), count(28)], [0, 0, 1, 2, 2, 3]);
    }

    #[test]
    fn window_contains_the_selected_row() {
        assert_eq!(window(5, 4, 10), 0..5);
        assert_eq!(window(100, 0, 10), 0..10);
        assert_eq!(window(100, 50, 10), 45..55);
        assert_eq!(window(100, 99, 10), 90..100);
        assert_eq!(window(100, 99, 0), 99..99);
        assert_eq!(window(3, 0, usize::MAX), 0..3);
    }

    #[test]
    fn long_text_is_cut_and_wrapped() {
        assert_eq!([cut_start("10.0.0.1:80", 6), cut_end("10.0.0.1:80", 6)], ["….1:80", "10.0.…"]);
        assert_eq!([cut_start("ab", 2), cut_start("abc", 1), cut_end("abc", 0)], ["ab", "…", ""]);
        assert_eq!(wrapped("to be or  not", 5), ["to be", "or", "not"]);
        assert_eq!(wrapped("unbroken", 5), ["unbroken"]);
    }
}
