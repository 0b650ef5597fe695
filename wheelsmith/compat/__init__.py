"""The one judge: whether code runs on a GPU, with a driver, a torch and a C library; the contract of a build."""
