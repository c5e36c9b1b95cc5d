//! Facts about the processor cores.

use super::files::Files;
use std::collections::BTreeSet;

const CORES: &str = "sys/devices/system/cpu";

/// Processor cores of the host. What cannot be read is empty or `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct CoreFacts {
    pub(super) online: BTreeSet<usize>,
    /// Cores on which the scheduler places nothing by itself (isolcpus=).
    pub(super) isolated: BTreeSet<usize>,
    /// Hardware threads that share a processor core, for each that several do.
    pub(super) siblings: BTreeSet<BTreeSet<usize>>,
    /// Cores of each NUMA node, by its number.
    pub(super) nodes: Vec<(usize, BTreeSet<usize>)>,
    /// Cores with the frequency governor "powersave"; `None` if no core reports its governor.
    pub(super) saving: Option<BTreeSet<usize>>,
    /// The deepest idle state of the first core that is enabled.
    pub(super) idle: Option<IdleState>,
    /// Part of the time that the hypervisor gave to other guests, in percent, since the host's start.
    pub(super) stolen: Option<f64>,
}

/// An idle state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdleState {
    pub(super) name: String,
    /// Time to wake from it, or the limit that a program has set for all (/dev/cpu_dma_latency), if that is less.
    pub(super) microseconds: u32,
}

impl CoreFacts {
    pub(super) fn read(files: &Files) -> Self {
        let online = files.set(&format!("{CORES}/online")).unwrap_or_default();
        let siblings = |core| files.set(&format!("{CORES}/cpu{core}/topology/thread_siblings_list"));
        let governor = |core: usize| files.text(&format!("{CORES}/cpu{core}/cpufreq/scaling_governor"));
        Self {
            isolated: files.set(&format!("{CORES}/isolated")).unwrap_or_default(),
            siblings: online.iter().filter_map(siblings).filter(|set| set.len() > 1).collect(),
            nodes: nodes(files),
            saving: online.iter().any(|core| governor(*core).is_some()).then(|| {
                let is_saving = |core: &&usize| governor(**core).as_deref() == Some("powersave");
                online.iter().filter(is_saving).copied().collect()
            }),
            idle: idle(files),
            stolen: stolen(files),
            online,
        }
    }

    /// The NUMA node of a core.
    pub(super) fn node_of(&self, core: usize) -> Option<usize> {
        self.nodes.iter().find(|(_, cores)| cores.contains(&core)).map(|(node, _)| *node)
    }
}

fn nodes(files: &Files) -> Vec<(usize, BTreeSet<usize>)> {
    let nodes = "sys/devices/system/node";
    let node = |name: String| {
        let number = name.strip_prefix("node")?.parse().ok()?;
        Some((number, files.set(&format!("{nodes}/{name}/cpulist"))?))
    };
    files.names(nodes).into_iter().filter_map(node).collect()
}

fn idle(files: &Files) -> Option<IdleState> {
    let states = format!("{CORES}/cpu0/cpuidle");
    let enabled = |name: &String| files.number::<u32>(&format!("{states}/{name}/disable")) == Some(0);
    let state = |state: String| {
        let microseconds = files.number(&format!("{states}/{state}/latency"))?;
        Some(IdleState { name: files.text(&format!("{states}/{state}/name"))?, microseconds })
    };
    let deepest = files
        .names(&states)
        .into_iter()
        .filter(enabled)
        .filter_map(state)
        .max_by_key(|state| state.microseconds);
    let limit = files.word("dev/cpu_dma_latency").and_then(|limit| u32::try_from(limit).ok());
    deepest
        .map(|state| IdleState { microseconds: state.microseconds.min(limit.unwrap_or(u32::MAX)), ..state })
}

/// From the first line of /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal.
fn stolen(files: &Files) -> Option<f64> {
    let text = files.text("proc/stat")?;
    let fields = text.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let times: Vec<f64> = fields.take(8).map_while(|field| field.parse().ok()).collect();
    let all: f64 = times.iter().sum();
    times.get(7).filter(|_| all > 0.0).map(|stolen| stolen / all * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::files::tests::written;

    #[test]
    fn cores_are_read_as_the_kernel_describes_them() {
        let (files, _place) = written(&[
            ("sys/devices/system/cpu/online", "0-3\n"),
            ("sys/devices/system/cpu/isolated", "2-3\n"),
            ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0,2"),
            ("sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "0,2"),
            ("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1"),
            ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave"),
            ("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor", "performance"),
            ("sys/devices/system/node/node0/cpulist", "0-1"),
            ("sys/devices/system/node/node1/cpulist", "2-3"),
            ("proc/stat", "cpu  10 0 20 60 0 0 5 5 9 9\ncpu0 1 1 1\n"),
        ]);
        let cores = CoreFacts::read(&files);
        assert_eq!((cores.online.len(), cores.isolated), (4, BTreeSet::from([2, 3])));
        assert_eq!(cores.siblings, BTreeSet::from([BTreeSet::from([0, 2])]));
        assert_eq!((cores.saving, cores.stolen), (Some(BTreeSet::from([1])), Some(5.0)));
        assert_eq!(cores.nodes[1], (1, BTreeSet::from([2, 3])));
    }

    #[test]
    fn the_deepest_idle_state_that_is_not_disabled_counts() {
        let states = "sys/devices/system/cpu/cpu0/cpuidle";
        let state = |number, name: &'static str, latency: &'static str, disable: &'static str| {
            let file = move |file: &str| format!("{states}/state{number}/{file}");
            [(file("name"), name), (file("latency"), latency), (file("disable"), disable)]
        };
        let all = [state(0, "POLL", "0", "0"), state(1, "C1", "2", "0"), state(2, "C6", "133", "1")].concat();
        let all: Vec<_> = all.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        let (files, place) = written(&all);
        assert_eq!(idle(&files), Some(IdleState { name: "C1".into(), microseconds: 2 }));
        std::fs::write(place.path().join(states).join("state2/disable"), "0").unwrap();
        assert_eq!(idle(&files).unwrap().microseconds, 133);
        std::fs::create_dir(place.path().join("dev")).unwrap();
        std::fs::write(place.path().join("dev/cpu_dma_latency"), 10_i32.to_ne_bytes()).unwrap();
        assert_eq!(idle(&files).unwrap().microseconds, 10, "a program keeps cores awake");
    }

    #[test]
    fn a_host_that_hides_its_cores_has_no_facts() {
        let (files, _place) = written(&[]);
        assert_eq!(CoreFacts::read(&files), CoreFacts::default());
    }
}
