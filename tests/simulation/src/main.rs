use clap::Parser;

fn main() -> anyhow::Result<()> {
    sightline_simulation::Command::parse().run()
}
