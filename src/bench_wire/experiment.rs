//! The experiment: all trials of one traffic pattern, in order, and the figures made of them.
//!
//! Compared trials are interleaved (A B C A B C …), so that a slow period of the machine affects all DUTs alike. Ratios
//! are formed within a round, then their median is taken.

use super::plan::{CURVE, LEVELS, TrialPlan};
use super::results::{DutFigures, Highest, Loaded, Low, Ndr, OverloadFigures, Point, Results};
use super::search::highest_lossless;
use super::statistics::{Spread, median, ratios};
use super::summary::{Trials, causes, cores, delivered, format_rates, latency, offered, per_frame, spread};
use super::trial::{Dut, Offered, Testbed, Traffic, TrialOutcome};
use crate::lab::Console;
use crate::model::Diagnostic;
use std::collections::BTreeMap;

/// Offered load of each DUT; `None` skips the DUT.
type OfferedLoad<'a> = &'a dyn Fn(Dut) -> Option<Offered>;

/// One value per DUT.
type Each<T> = BTreeMap<Dut, T>;

/// Offered load in overload, as a multiple of the peak.
const OVERLOAD: f64 = 4.0;

/// Upper bound of the NDR search, as a multiple of the peak. The NDR cannot exceed the peak, which is itself a noisy
/// measurement.
const NDR_MARGIN: f64 = 1.05;

/// Runs all trials of `traffic` on `testbed`.
///
/// # Errors
/// [`Diagnostic`] if a DUT has ended or a signal has arrived.
pub fn run(
    testbed: &mut dyn Testbed,
    plan: &TrialPlan,
    traffic: Traffic,
    console: &Console,
) -> Result<Results, Diagnostic> {
    let mut experiment = Experiment { testbed, plan, console };
    experiment.prime(traffic)?;
    let highest = experiment.highest_rates()?;
    let curves = experiment.curves(&highest)?;
    let overloads = experiment.overloads(&curves)?;
    let ndrs = experiment.ndrs(&curves)?;
    let mut loaded = experiment.latencies_under_load(&ndrs)?;
    let low = experiment.latencies_at_low_rate(&ndrs)?;
    let duts = plan.duts.iter().map(|c| DutFigures {
        dut: *c,
        highest: highest[c].clone(),
        curve: curves[c].clone(),
        overload: overloads[c].clone(),
        ndr: ndrs[c],
        loaded: loaded.remove(c).unwrap_or_default(),
        low: low[c],
    });
    Ok(Results { traffic, duts: duts.collect() })
}

struct Experiment<'a> {
    testbed: &'a mut dyn Testbed,
    plan: &'a TrialPlan,
    console: &'a Console,
}

impl Experiment<'_> {
    fn prime(&mut self, traffic: Traffic) -> Result<(), Diagnostic> {
        for &dut in &self.plan.duts {
            self.console.print(&format!("opening {} connections: {}", traffic.flows, dut.name()));
            self.testbed.prime(dut)?;
        }
        Ok(())
    }

    /// Measures every DUT at full speed of the generator.
    fn highest_rates(&mut self) -> Result<Each<Highest>, Diagnostic> {
        let [trials] = self.interleaved("highest rate", self.plan.rounds, [&|_| Some(Offered::Full)])?;
        let peer = trials.get(&Dut::L2fwd).map(|outcomes| delivered(outcomes));
        Ok(each(&trials, |outcomes| Highest {
            offered: spread(offered(outcomes)),
            delivered: spread(delivered(outcomes)),
            to_l2fwd: peer.as_ref().and_then(|peer| ratios(&delivered(outcomes), peer)),
            cores: cores(outcomes),
            per_frame: per_frame(outcomes),
        }))
    }

    /// Measures delivered against offered rate, around the rate delivered at full speed.
    fn curves(&mut self, highest: &Each<Highest>) -> Result<Each<Vec<Point>>, Diagnostic> {
        let mut curves: Each<Vec<Point>> = BTreeMap::new();
        for share in CURVE {
            let load = |dut| point(&highest[&dut], share);
            let what = format!("curve, {share} of delivered at full speed");
            let [trials] = self.interleaved(&what, self.plan.curve_rounds, [&load])?;
            for (dut, outcomes) in &trials {
                let intended = load(*dut).unwrap_or(Offered::Full);
                let (offered, delivered) = (median(offered(outcomes)), median(delivered(outcomes)));
                curves.entry(*dut).or_default().push(Point { intended, offered, delivered });
            }
        }
        for (dut, Highest { offered, delivered, .. }) in highest {
            let full =
                Point { intended: Offered::Full, offered: offered.median, delivered: delivered.median };
            curves.entry(*dut).or_default().push(full);
        }
        Ok(curves)
    }

    /// Measures the peak of the curve and four times its rate, in turn. The peak is measured again: the maximum of
    /// several noisy points is biased upwards.
    fn overloads(&mut self, curves: &Each<Vec<Point>>) -> Result<Each<OverloadFigures>, Diagnostic> {
        let peaks: Each<Point> = each(curves, |curve| peak(curve));
        let mut fourfold: Each<Offered> = BTreeMap::new();
        for (dut, peak) in &peaks {
            fourfold.insert(*dut, self.overload_of(*dut, peak)?);
        }
        let loads: [&dyn Fn(Dut) -> Option<Offered>; 2] =
            [&|dut| Some(peaks[&dut].intended), &|dut| Some(fourfold[&dut])];
        let [calm, flooded] = self.interleaved("peak and overload", self.plan.rounds, loads)?;
        let mut overloads = BTreeMap::new();
        for (dut, outcomes) in &flooded {
            let (peak, calm) = (peaks[dut], delivered(&calm[dut]));
            let offered = median(offered(outcomes));
            let figures = OverloadFigures {
                peak,
                offered,
                times: offered / median(calm.iter().copied()),
                delivered: spread(delivered(outcomes)),
                to_peak: ratios(&delivered(outcomes), &calm),
                losses: causes(outcomes),
            };
            overloads.insert(*dut, figures);
        }
        Ok(overloads)
    }

    /// Offered load in overload: four times the peak, or full speed if the generator cannot pace that rate.
    fn overload_of(&mut self, dut: Dut, peak: &Point) -> Result<Offered, Diagnostic> {
        let intended = OVERLOAD * peak.delivered;
        let paced = Offered::PerSecond(intended as u64);
        let offered = self.trial(dut, paced)?.offered_rate();
        Ok(if offered < 0.9 * intended { Offered::Full } else { paced })
    }

    fn ndrs(&mut self, curves: &Each<Vec<Point>>) -> Result<Each<Ndr>, Diagnostic> {
        let duts = self.plan.duts.iter();
        duts.map(|dut| Ok((*dut, self.ndr(*dut, &curves[dut])?))).collect()
    }

    fn ndr(&mut self, dut: Dut, curve: &[Point]) -> Result<Ndr, Diagnostic> {
        let rules = self.plan.rules();
        let upper = (peak(curve).delivered * NDR_MARGIN).min(full_speed(curve)) as u64;
        let found = highest_lossless(upper, &rules, |rate| {
            let outcome = self.trial(dut, Offered::PerSecond(rate))?;
            Ok::<_, Diagnostic>(outcome.is_lossless())
        })?;
        let ndr = Ndr {
            rate: found.rate,
            lossless: found.lossless,
            confirmations: rules.confirmations,
            trials: found.trials,
            within: found.within,
            upper,
        };
        self.console.print(&format!(
            "rate without loss, {} trials: {} {:.1} k/s",
            ndr.trials,
            dut.name(),
            ndr.rate as f64 / 1e3
        ));
        Ok(ndr)
    }

    /// Measures latency at shares of each DUT's NDR.
    fn latencies_under_load(&mut self, ndrs: &Each<Ndr>) -> Result<Each<Vec<Loaded>>, Diagnostic> {
        let mut loaded: Each<Vec<Loaded>> = BTreeMap::new();
        for of_ndr in LEVELS {
            let what = format!("latency at {:.0} % of the rate without loss", of_ndr * 100.0);
            let [trials] =
                self.interleaved(&what, self.plan.curve_rounds, [&|dut| at_share(ndrs[&dut].rate, of_ndr)])?;
            for (dut, outcomes) in &trials {
                let level = Loaded { of_ndr, latency: latency(outcomes), cores: cores(outcomes) };
                loaded.entry(*dut).or_default().push(level);
            }
        }
        Ok(loaded)
    }

    /// Measures latency of all DUTs at one rate that is low for each of them.
    fn latencies_at_low_rate(&mut self, ndrs: &Each<Ndr>) -> Result<Each<Low>, Diagnostic> {
        let slowest = ndrs.values().map(|ndr| ndr.rate).filter(|rate| *rate > 0).min();
        let rate = slowest.map_or(self.plan.low_rate, |slowest| self.plan.low_rate.min(slowest / 2)).max(1);
        let what = format!("latency at {rate} frames/s");
        let [trials] = self.interleaved(&what, self.plan.rounds, [&|_| Some(Offered::PerSecond(rate))])?;
        let peer = trials.get(&Dut::L2fwd);
        Ok(each(&trials, |outcomes| Low {
            latency: latency(outcomes),
            added_p50: peer.and_then(|peer| added_p50(outcomes, peer)),
            p99_to_l2fwd: peer.and_then(|peer| ratios(&quantiles(outcomes, 0.99), &quantiles(peer, 0.99))),
        }))
    }

    /// Runs `rounds` rounds with one trial of each load for each DUT. Returns the trials by load.
    fn interleaved<const LOADS: usize>(
        &mut self,
        what: &str,
        rounds: u32,
        loads: [OfferedLoad<'_>; LOADS],
    ) -> Result<[Trials; LOADS], Diagnostic> {
        let mut trials = [const { Trials::new() }; LOADS];
        for round in 1..=rounds {
            for (load, trials) in loads.iter().zip(&mut trials) {
                self.round(load, trials)?;
            }
            self.console.print(&format!("{what}, {round} of {rounds}: {}", format_rates(&trials)));
        }
        Ok(trials)
    }

    fn round(&mut self, load: OfferedLoad<'_>, trials: &mut Trials) -> Result<(), Diagnostic> {
        for &dut in &self.plan.duts {
            if let Some(offered) = load(dut) {
                let outcome = self.trial(dut, offered)?;
                trials.entry(dut).or_default().push(outcome);
            }
        }
        Ok(())
    }

    fn trial(&mut self, dut: Dut, offered: Offered) -> Result<TrialOutcome, Diagnostic> {
        self.testbed.trial(dut, offered, self.plan.trial())
    }
}

fn each<A, B>(of: &Each<A>, f: impl Fn(&A) -> B) -> Each<B> {
    of.iter().map(|(dut, figure)| (*dut, f(figure))).collect()
}

/// Offered load of `share` times the rate delivered at full speed; `None` above the generator's speed.
fn point(highest: &Highest, share: f64) -> Option<Offered> {
    let rate = (highest.delivered.median * share) as u64;
    (rate > 0 && (rate as f64) < highest.offered.median).then_some(Offered::PerSecond(rate))
}

/// Point with the highest delivered rate; of equal points the one with the lowest offered rate.
fn peak(curve: &[Point]) -> Point {
    let highest = curve.iter().rev().max_by(|a, b| a.delivered.total_cmp(&b.delivered));
    *highest.expect("a curve ends with its point of full speed")
}

fn full_speed(curve: &[Point]) -> f64 {
    curve.last().map_or(0.0, |point| point.offered)
}

fn at_share(rate: u64, share: f64) -> Option<Offered> {
    let rate = (rate as f64 * share) as u64;
    (rate > 0).then_some(Offered::PerSecond(rate))
}

fn quantiles(outcomes: &[TrialOutcome], quantile: f64) -> Vec<f64> {
    outcomes.iter().map(|outcome| outcome.latency.value_at_quantile(quantile) as f64).collect()
}

fn added_p50(outcomes: &[TrialOutcome], peer: &[TrialOutcome]) -> Option<Spread> {
    let (ours, theirs) = (quantiles(outcomes, 0.5), quantiles(peer, 0.5));
    Spread::of(ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench_wire::fake::{self, Fake, capacity};

    fn run_on(fake: &mut Fake, plan: &TrialPlan) -> Results {
        run(fake, plan, fake::TRAFFIC, &Console::silent()).unwrap()
    }

    fn of(results: &Results, dut: Dut) -> &DutFigures {
        results.duts.iter().find(|figures| figures.dut == dut).unwrap()
    }

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 0.001 * b.abs()
    }

    #[test]
    fn highest_rates_are_interleaved_and_compared_by_round() {
        let mut fake = Fake::new();
        let results = run_on(&mut fake, &fake::plan());
        let turns: Vec<_> = fake.log[..9].iter().map(|trial| trial.0).collect();
        let round = [Dut::Xdp, Dut::L2fwd, Dut::Nft];
        assert_eq!(turns, round.repeat(3));
        assert!(fake.log[..9].iter().all(|trial| trial.1 == Offered::Full));
        let highest = &of(&results, Dut::Xdp).highest;
        assert!(near(highest.delivered.median, 330_000.0 * 0.95), "{highest:?}");
        assert!(near(highest.offered.median, 1_500_000.0), "{highest:?}");
        assert!(near(highest.to_l2fwd.unwrap().median, 1.1), "{highest:?}");
        assert_eq!(highest.cores, [0.6, 1.0]);
        assert!(near(highest.per_frame.unwrap().instructions, 1000.0));
        assert_eq!(of(&results, Dut::Nft).highest.per_frame, None);
    }

    #[test]
    fn duts_keep_the_order_of_the_plan() {
        let order = vec![Dut::Nft, Dut::Xdp];
        let plan = TrialPlan { duts: order.clone(), ..fake::plan() };
        let mut fake = Fake::new();
        let results = run_on(&mut fake, &plan);
        assert_eq!(results.duts.iter().map(|f| f.dut).collect::<Vec<_>>(), order);
        assert_eq!(fake.primed, order);
        let figures = of(&results, Dut::Xdp);
        assert_eq!((figures.highest.to_l2fwd, figures.low.added_p50), (None, None), "there is no l2fwd");
    }

    #[test]
    fn overload_is_four_times_the_peak() {
        let results = run_on(&mut Fake::new(), &fake::plan());
        let overload = &of(&results, Dut::Xdp).overload;
        let peak = overload.peak.delivered;
        assert!((313_500.0..=330_000.0).contains(&peak), "{overload:?}");
        assert!((3.9..4.3).contains(&overload.times), "{overload:?}");
        assert!(near(overload.delivered.median, 313_500.0), "{overload:?}");
        assert!(near(overload.to_peak.unwrap().median, 313_500.0 / peak), "{overload:?}");
        let lost = 1.0 - 313_500.0 / overload.offered;
        assert!(near(overload.losses["ring_full"], lost), "{overload:?}");
    }

    #[test]
    fn slow_generator_limits_overload_to_full_speed() {
        let mut fake = Fake { generator: 700_000, ..Fake::new() };
        let results = run_on(&mut fake, &fake::plan());
        let overload = &of(&results, Dut::Xdp).overload;
        assert!(near(overload.offered, 700_000.0) && overload.times < 2.4, "{overload:?}");
        let nft = of(&results, Dut::Nft);
        let last = nft.curve.last().unwrap();
        assert_eq!(last.intended, Offered::Full);
        let offered: Vec<_> = nft.curve.iter().map(|point| point.offered).collect();
        assert!(offered.is_sorted(), "{offered:?}");
    }

    #[test]
    fn ndr_is_within_resolution_with_and_without_noise() {
        for noise in [0, 3] {
            let mut fake = Fake { noise, ..Fake::new() };
            let results = run_on(&mut fake, &fake::plan());
            for figures in &results.duts {
                let (ndr, capacity) = (&figures.ndr, capacity(figures.dut));
                assert!(ndr.rate <= capacity && ndr.rate + ndr.within >= capacity.min(ndr.upper), "{ndr:?}");
                assert!(2 * ndr.lossless > ndr.confirmations, "{ndr:?}");
            }
        }
    }

    #[test]
    fn latency_is_measured_at_shares_of_own_ndr() {
        let results = run_on(&mut Fake::new(), &fake::plan());
        for figures in &results.duts {
            assert_eq!(figures.loaded.len(), LEVELS.len());
            for (level, share) in figures.loaded.iter().zip(LEVELS) {
                assert!(near(level.latency.offered, figures.ndr.rate as f64 * share), "{level:?}");
                let times = level.latency.percentiles().map(|(_, ns)| ns);
                assert!(times.is_sorted() && times[0] > 0, "{times:?}");
                assert_eq!(level.latency.samples, 10_000);
            }
        }
    }

    #[test]
    fn latency_is_compared_at_one_low_rate() {
        let results = run_on(&mut Fake::new(), &fake::plan());
        let [ours, peer] = [Dut::Xdp, Dut::L2fwd].map(|c| of(&results, c).low);
        assert!(near(ours.latency.offered, 10_000.0) && near(peer.latency.offered, 10_000.0));
        let added = ours.added_p50.unwrap().median;
        assert!((150.0..250.0).contains(&added), "{added} ns, and 200 were meant");
        assert!(near(peer.p99_to_l2fwd.unwrap().median, 1.0));
    }

    #[test]
    fn lossy_dut_has_no_ndr_and_no_latency_under_load() {
        let mut fake = Fake { noise: 1, ..Fake::new() };
        let results = run_on(&mut fake, &fake::plan());
        for figures in &results.duts {
            assert_eq!((figures.ndr.rate, figures.loaded.len()), (0, 0));
            assert!(near(figures.low.latency.offered, 10_000.0));
        }
    }
}
