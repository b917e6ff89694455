"""Records to bytes and back. Nothing here touches a descriptor, a clock or a kernel object."""
