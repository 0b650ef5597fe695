"""The finished wheel: what it holds, whether that is what was asked for, its tag, its reproducible form.

In: paths of wheels, folders or libraries. Out: reports, verdicts and sealed wheels. Fails with
`InvalidWheelError`, `ContractError` or `NotPortableError`. Uses none of NVIDIA's tools.
"""
