//! Parser of the recorded listings.

/// A command with its output.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Arguments of ipvsadm.
    pub(crate) arguments: String,
    pub(crate) output: String,
    /// Exit status, if the recording has one.
    pub(crate) status: Option<i32>,
}

/// Blocks of ipvsadm-1.31.txt.
pub(crate) fn made_up() -> Vec<Block> {
    let text = include_str!("../golden/ipvsadm-1.31.txt");
    let blocks = text.split("### ").skip(1).map(|block| {
        let (command, output) = block.split_once('\n').unwrap();
        Block { arguments: arguments(command), output: output.to_owned(), status: None }
    });
    blocks.collect()
}

/// ipvsadm commands of a transcript below ipvs-6.1/.
pub(crate) fn recorded(text: &str) -> Vec<Block> {
    let blocks = text.split("director# ").skip(1).filter(|block| block.starts_with("ipvsadm "));
    let blocks = blocks.map(|block| {
        let (command, rest) = block.split_once('\n').unwrap();
        let (output, status) = match rest.split_once("[exit status ") {
            Some((output, status)) => (output, status.split(']').next().unwrap().parse().ok()),
            None => (rest, None),
        };
        Block { arguments: arguments(command), output: output.to_owned(), status }
    });
    blocks.collect()
}

fn arguments(command: &str) -> String {
    command.strip_prefix("ipvsadm ").unwrap().to_owned()
}
