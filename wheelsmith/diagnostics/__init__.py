"""Why a build or a run failed, from its log."""
