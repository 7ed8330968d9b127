use super::*;

mod simulation;
