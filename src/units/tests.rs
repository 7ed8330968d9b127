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

#[test]
fn rates_of_requests() {
    let rate: Rate = "100/1m".parse().unwrap();
    assert_eq!((rate.count(), rate.per()), (100, Duration::from_secs(60)));
    assert_eq!(rate.to_string(), "100/1m");
    assert_eq!("1000000000/1ms".parse::<Rate>().unwrap().count(), 1_000_000_000);
    assert_eq!(Rate::new(0, Duration::from_secs(1)), None);
    assert_eq!(Rate::new(1, Duration::default()), None);
}

#[test]
fn what_is_no_rate_of_requests_is_refused() {
    let wrong = ["0/1s", "1/0s", "1/999us", "100", "100/", "/1m", "100/60", "1.5/1s", "+1/1s", "-1/1s", "1 / 1s"];
    for text in wrong.iter().chain(&["1000000001/1s", "4294967296/1s", "1KiB/1s", "1/1s/1s", ""]) {
        assert!(text.parse::<Rate>().is_err(), "{text}");
    }
    let told = serde_json::from_str::<Rate>("100").unwrap_err().to_string();
    assert!(told.contains("such as 100/1m"), "{told}");
    assert_eq!(serde_json::from_str::<Rate>("\"5/1s\"").unwrap(), "5/1s".parse().unwrap());
}

proptest! {
    #[test]
    fn a_rate_survives_being_written(count in 1u32..=1_000_000_000, ms in 1u64..100_000_000) {
        let rate = Rate::new(count, Duration::from_millis(ms)).unwrap();
        prop_assert_eq!(rate.to_string().parse::<Rate>().unwrap(), rate);
    }

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
