use super::*;
use proptest::prelude::*;

#[test]
fn durations_are_read_and_written_alike() {
    for (text, ms) in [("250ms", 250), ("5s", 5000), ("1m", 60_000), ("24h", 86_400_000), ("1.5s", 1500), ("0s", 0)] {
        let d: Duration = text.parse().unwrap();
        assert_eq!(d.get().as_millis(), ms, "{text}");
    }
    assert_eq!(Duration::from_millis(1500).to_string(), "1500ms");
    assert_eq!(Duration::from_secs(7200).to_string(), "2h");
}

#[test]
fn what_is_no_duration_is_refused() {
    for text in ["", "5", "s", "-1s", "1 s", "1sec", "1e3s", ".5s", "5.s", "99999999d", "1:30", "on"] {
        assert!(text.parse::<Duration>().is_err(), "{text}");
    }
}

#[test]
fn sizes_ratios_and_rates() {
    assert_eq!("64KiB".parse::<Size>().unwrap().bytes(), 65536);
    assert_eq!("512".parse::<Size>().unwrap().bytes(), 512);
    assert!("64KB".parse::<Size>().is_err() && "0.3B".parse::<Size>().is_err());
    assert_eq!("50%".parse::<Ratio>().unwrap().get(), 0.5);
    assert!("101%".parse::<Ratio>().is_err() && "0.5".parse::<Ratio>().is_err());
    assert_eq!("4KiB/1s".parse::<ByteRate>().unwrap().per_second(), 4096);
    assert!("0/1s".parse::<ByteRate>().is_err() && "4KiB/0s".parse::<ByteRate>().is_err());
}

proptest! {
    #[test]
    fn a_duration_survives_being_written(us in 0u64..1_000_000_000_000) {
        let d = Duration(std::time::Duration::from_micros(us));
        let back: Duration = d.to_string().parse().unwrap();
        prop_assert!(back.0.abs_diff(d.0) < std::time::Duration::from_micros(2));
    }

    #[test]
    fn a_size_survives_being_written(b in 0u64..(1 << 45)) {
        prop_assert_eq!(Size(b).to_string().parse::<Size>().unwrap(), Size(b));
    }
}
