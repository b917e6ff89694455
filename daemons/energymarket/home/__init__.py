"""What a range of homes does in a slot: live, bargain over gifts, hand in. One home is a range of one."""
