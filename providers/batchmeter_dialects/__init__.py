"""How vendors' rows count and bill: tables that core's meter reads, one module a vendor, each without heavy imports."""
