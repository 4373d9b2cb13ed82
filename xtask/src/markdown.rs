//! Commands in Markdown documents: which lines are code, and what a reader would type of them.
//!
//! The tests of `src/cli` read the same file, so that the documents are read in one way.

/// A line of a document, numbered from 1.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) number: usize,
    pub(crate) text: &'a str,
    /// Whether it stands in a fenced or an indented block.
    pub(crate) is_code: bool,
}

/// A command that a document shows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DocumentedCommand {
    pub(crate) line: usize,
    /// The program, then its arguments, without quotes and the comment behind them.
    pub(crate) words: Vec<String>,
    /// Whether it stands in a block, to be typed as it is, and not within a sentence.
    pub(crate) is_in_block: bool,
}

/// The lines of a document. A block is indented by four spaces behind an empty line, or fenced.
pub(crate) fn lines(text: &str) -> Vec<Line<'_>> {
    let mut fence: Option<&str> = None;
    let mut is_code_before = false;
    let mut is_empty_before = true;
    let mut lines = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let start = text.trim_start();
        let is_code = match fence {
            Some(end) => {
                if start.starts_with(end) {
                    fence = None;
                }
                true
            }
            None => {
                fence = ["```", "~~~"].into_iter().find(|it| start.starts_with(it));
                let is_indented = text.starts_with("    ") && (is_empty_before || is_code_before);
                fence.is_some() || is_indented
            }
        };
        is_empty_before = start.is_empty();
        is_code_before = is_code && fence.is_none() || is_code_before && is_empty_before;
        lines.push(Line {
            number: index + 1,
            text,
            is_code,
        });
    }
    lines
}

/// The commands of a document that begin with the words of `program`, in blocks and within sentences.
pub(crate) fn commands(text: &str, program: &[&str]) -> Vec<DocumentedCommand> {
    let lines = lines(text);
    let mut found = blocks(&lines);
    found.extend(spans(&lines));
    found.retain(|command| {
        let mut words = command.words.iter();
        program
            .iter()
            .all(|name| words.next().is_some_and(|word| word == name))
    });
    found.sort_by_key(|command| command.line);
    found
}

/// Every line of a block as a command; one that ends in a backslash goes on in the next.
fn blocks(lines: &[Line<'_>]) -> Vec<DocumentedCommand> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for line in lines.iter().filter(|line| line.is_code) {
        let (number, before) = open.take().unwrap_or((line.number, String::new()));
        let text = line.text.trim().trim_start_matches("$ ");
        match text.strip_suffix('\\') {
            Some(text) => open = Some((number, format!("{before}{text} "))),
            None => found.push(DocumentedCommand {
                line: number,
                words: words(&format!("{before}{text}")),
                is_in_block: true,
            }),
        }
    }
    found
}

/// What stands between backticks, which may go on in the next line of a paragraph.
fn spans(lines: &[Line<'_>]) -> Vec<DocumentedCommand> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for line in lines {
        if line.is_code || line.text.trim().is_empty() {
            open = None;
            continue;
        }
        for (index, part) in line.text.split('`').enumerate() {
            if index > 0 {
                open = match open.take() {
                    None => Some((line.number, String::new())),
                    Some((number, text)) => {
                        found.push(DocumentedCommand {
                            line: number,
                            words: words(&text),
                            is_in_block: false,
                        });
                        None
                    }
                };
            }
            if let Some((_, text)) = &mut open {
                text.push_str(part);
            }
        }
        if let Some((_, text)) = &mut open {
            text.push(' ');
        }
    }
    found
}

/// The words of one command, as a shell splits them: without variables set before it, and up to a comment, a pipe, a
/// redirection or another command.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in text.chars() {
        match quote {
            Some(end) if letter == end => quote = None,
            Some(_) => word.get_or_insert_default().push(letter),
            None if letter == '"' || letter == '\'' => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            None if letter.is_whitespace() => words.extend(word.take()),
            None if letter == '#' && word.is_none() => break,
            None if ['|', '>', '&', ';'].contains(&letter) => break,
            None => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    let is_variable = |word: &String| {
        let name = word.split_once('=').map_or("", |(name, _)| name);
        !name.is_empty() && name.chars().all(|it| it.is_ascii_uppercase() || it == '_')
    };
    let first = words.iter().position(|word| !is_variable(word));
    words.split_off(first.unwrap_or(words.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(usize, String, bool)> {
        commands(text, &["kinestream"])
            .into_iter()
            .map(|it| (it.line, it.words.join("|"), it.is_in_block))
            .collect()
    }

    #[test]
    fn commands_of_blocks_are_found_with_their_lines() {
        let text = "Text\n    kinestream no block\n\n    kinestream run a.toml   # a comment\n\n    kinestream top\n\n\
                    ```\nLOG=1 kinestream eval \\\n  --way \"turn left\" | tee x\n```\nkinestream is a word here\n";
        assert_eq!(
            found(text),
            [
                (4, "kinestream|run|a.toml".to_owned(), true),
                (6, "kinestream|top".to_owned(), true),
                (9, "kinestream|eval|--way|turn left".to_owned(), true),
            ]
        );
    }

    #[test]
    fn commands_within_sentences_may_go_on_in_the_next_line() {
        let text = "Ask `kinestream stop\nmy.toml` and `other`; a `kinestream` alone.\n\nA ` that\n\n`kinestream top`";
        assert_eq!(
            found(text),
            [
                (1, "kinestream|stop|my.toml".to_owned(), false),
                (2, "kinestream".to_owned(), false),
                (6, "kinestream|top".to_owned(), false),
            ]
        );
    }
}
