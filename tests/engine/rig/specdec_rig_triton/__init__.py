"""A Triton backend "cpu" without a compiler: with TRITON_INTERPRET=1 the kernels run as numpy code. Test rigs only."""
