"""Everything that happens later: applying deliveries, linking bots, sweeping."""
