"""Reports over what the ledger knows: nothing of the flow of a batch imports them."""
