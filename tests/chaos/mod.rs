//! Pulling the plug, on real servers: at every commit boundary by name, and at random while everything works.

mod dice;
mod disk;
mod failpoints;
mod gate;
mod generator;
mod judge;
mod oracle;
mod process;
mod scene;
mod tormentor;
