//! Programs that are held at their start: hooks what they will run, and lets them go.

use std::{collections::VecDeque, mem, sync::Arc};

use super::Tracer;
use crate::capture::{TargetMode, Verdict, gate::HeldProgram};

impl Tracer {
    /// Hooks what held programs will run, and lets them go, or hooks one module that waits. Programs of which it is open
    /// whether they are traced wait on.
    pub(super) fn hook_held(&mut self, verdicts: &mut VecDeque<(u32, Verdict)>) {
        while let Some(gate) = &mut self.gate {
            let program = match gate.held() {
                Ok(Some(program)) => program,
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!("programs are not held any more: {error}");
                    self.gate = None;
                    return;
                }
            };
            if program.is_open {
                // It may be the first one in its container.
                gate.watch_mounts(program.pid);
                self.open.push(program);
            } else if program.is_module {
                if let Ok(file) = program.open() {
                    let verdict = self.attachments.module(file, program.pid, &program.path());
                    if !verdict.is_empty() {
                        verdicts.push_back((program.pid, verdict));
                    }
                }
                gate.release(program);
                // Its process has begun, and others must hear of it before it ends: the next one waits for that.
                return;
            } else {
                verdicts.extend(self.begin(program));
            }
        }
    }

    /// Takes the programs of which it is open whether they are traced. Each waits, the keeper's patience long, until it
    /// [begins](Self::begin) or is [passed](Self::pass).
    pub fn open_programs(&mut self) -> Vec<HeldProgram> {
        mem::take(&mut self.open)
    }

    /// Traces a program from its first instruction on.
    pub fn begin(&mut self, program: HeldProgram) -> Vec<(u32, Verdict)> {
        let Some(gate) = &self.gate else { return Vec::new() };
        let pid = program.pid;
        gate.watch_mounts(pid);
        gate.watch_modules(&self.libraries.modules_of_held(&program));
        self.disturbed();
        if self.mode != TargetMode::All && self.targets.state(pid).is_none() {
            // By its name. A full table is counted by the kernel side.
            let _ = self.targets.add(pid);
        }
        let files = self.libraries.of_held(&program);
        let verdicts = files.into_iter().map(|(path, file)| (pid, self.attachments.ahead(file, pid, &path)));
        let verdicts = verdicts.filter(|(_, verdict)| !verdict.is_empty()).collect();
        if let Some(gate) = &self.gate {
            gate.release(program);
        }
        verdicts
    }

    /// Lets a program go on untraced.
    pub fn pass(&self, program: HeldProgram) {
        if let Some(gate) = &self.gate {
            gate.release(program);
        }
    }

    /// No program in this container is traced, until [`Self::ask_again`].
    pub fn refuse_container(&self, container: &Arc<str>) {
        if let Some(gate) = &self.gate {
            gate.refuse(container);
        }
    }

    /// Selectors have the same words for other things now.
    pub fn ask_again(&self) {
        if let Some(gate) = &self.gate {
            gate.ask_again();
        }
    }
}
