"""Options of XLA for tests that spend most of their time in the compiler."""

import jax

# Optimises less. It takes a third of the time off most tests.
QUICKLY = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_parallel_codegen_split_count=1"
)
if jax.__version_info__ < (0, 11):  # later ones do not know it
    QUICKLY += " --xla_cpu_use_fusion_emitters=false"

# Tests that run side by side have a core each, so that threads of XLA would only wait for one
# another.
ON_ONE_CORE = "--xla_cpu_multi_thread_eigen=false"
