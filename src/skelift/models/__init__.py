"""The networks: Phi, Omega, D, Lambda and the normalising flow."""
